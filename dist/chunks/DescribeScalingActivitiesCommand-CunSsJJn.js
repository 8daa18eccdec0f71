import{c as a,D as s,_ as e,a as i}from"./UpdateAutoScalingGroupCommand-Cj8y1y3C.js";class t extends(a(i,e,"DescribeScalingActivities",s)){}export{t as D};
