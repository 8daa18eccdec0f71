const e=(e,o)=>{if("object"==typeof process&&"true"===process?.env?.AWS_ENABLE_DEFAULT_SOCKET_TIMEOUT_2026&&"function"!=typeof e?.handle)return o};export{e as g};
