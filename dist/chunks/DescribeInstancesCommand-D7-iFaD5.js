import{c as s,D as a,_ as e,a as c}from"./DescribeLaunchTemplateVersionsCommand-7-utcrK1.js";class n extends(s(c,e,"DescribeInstances",a)){}export{n as D};
