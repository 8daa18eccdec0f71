import{c as s,U as a,_ as e,d as o}from"./DescribeInstanceRefreshesCommand-3x7uJGWI.js";class r extends(s(o,e,"UpdateAutoScalingGroup",a)){}export{r as U};
