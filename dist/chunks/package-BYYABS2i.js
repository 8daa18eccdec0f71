var r={version:"3.998.3"};export{r as p};
