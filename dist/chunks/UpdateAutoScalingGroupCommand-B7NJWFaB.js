import{c as s,U as a,_ as e,d as o}from"./DescribeInstanceRefreshesCommand-r8by9Ozm.js";class r extends(s(o,e,"UpdateAutoScalingGroup",a)){}export{r as U};
