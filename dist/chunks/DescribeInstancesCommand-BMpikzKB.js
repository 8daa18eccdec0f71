import{c as s,d as a,_ as e,a as c}from"./DescribeLaunchTemplateVersionsCommand-YfgkPaEU.js";class n extends(s(c,e,"DescribeInstances",a)){}export{n as D};
