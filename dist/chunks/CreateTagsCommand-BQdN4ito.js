import{c as s,C as a,_ as e,a as r}from"./DescribeLaunchTemplateVersionsCommand-Dg7e5fcC.js";class m extends(s(r,e,"CreateTags",a)){}export{m as C};
