class s{async sign(s,a,n){return s}}export{s as N};
