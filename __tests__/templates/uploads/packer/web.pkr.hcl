variable "image_name" {
  type = string
}

source "amazon-ebs" "web" {
  ami_name      = var.image_name
  region        = "eu-west-1"
  instance_type = "t3.small"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "admin"
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "file" {
    source      = "dist/"
    destination = "/srv"
  }
  provisioner "file" {
    source      = "build/app.tar"
    destination = "/srv/app.tar"
    generated   = true
  }
  provisioner "file" {
    direction   = "download"
    source      = "/var/log/cloud-init.log"
    destination = "logs/cloud-init.log"
  }
}
