#cloud-config
port: ${port}
${file("banner.txt")}
