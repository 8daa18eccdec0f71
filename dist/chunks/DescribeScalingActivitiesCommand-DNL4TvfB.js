import{c as a,D as s,_ as e,a as i}from"./UpdateAutoScalingGroupCommand-XM2KPsyV.js";class t extends(a(i,e,"DescribeScalingActivities",s)){}export{t as D};
