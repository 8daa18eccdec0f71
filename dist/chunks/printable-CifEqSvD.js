function p(p){return p.replace(/[\t\p{Zl}\p{Zp}]/gu," ").replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu,"").replaceAll("##[","## [")}function r(p){return p.split(/\r\n|[\r\n]/)}export{r as l,p};
