import{c as s,C as a,_ as e,a as r}from"./DescribeLaunchTemplateVersionsCommand-7-utcrK1.js";class m extends(s(r,e,"CreateTags",a)){}export{m as C};
