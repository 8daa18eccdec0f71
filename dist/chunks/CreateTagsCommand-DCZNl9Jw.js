import{c as s,C as a,_ as e,a as r}from"./DescribeLaunchTemplateVersionsCommand-cZgVjhXv.js";class m extends(s(r,e,"CreateTags",a)){}export{m as C};
