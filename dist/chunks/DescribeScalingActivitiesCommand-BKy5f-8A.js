import{c as s,b as e,_ as a,d as c}from"./DescribeInstanceRefreshesCommand-3x7uJGWI.js";class i extends(s(c,a,"DescribeScalingActivities",e)){}export{i as D};
