import{c as a,b as e,_ as s,a as r}from"./DescribeLaunchTemplateVersionsCommand-YfgkPaEU.js";class m extends(a(r,s,"CreateLaunchTemplateVersion",e)){}export{m as C};
