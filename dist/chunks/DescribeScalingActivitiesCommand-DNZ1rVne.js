import{c as s,b as e,_ as a,d as c}from"./DescribeInstanceRefreshesCommand-r8by9Ozm.js";class i extends(s(c,a,"DescribeScalingActivities",e)){}export{i as D};
