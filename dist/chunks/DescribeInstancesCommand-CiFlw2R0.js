import{c as s,D as a,_ as e,a as c}from"./DescribeLaunchTemplateVersionsCommand-Dg7e5fcC.js";class n extends(s(c,e,"DescribeInstances",a)){}export{n as D};
