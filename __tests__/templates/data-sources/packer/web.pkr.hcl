packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3"
    }
  }
}

data "amazon-ami" "base" {
  filters     = { name = "debian-*" }
  owners      = ["136693071363"]
  most_recent = true
}
data "http" "release" {
  url = "https://example.org/latest"
}
variable "image_name" {
  type = string
}

source "amazon-ebs" "web" {
  ami_name      = var.image_name
  region        = "eu-west-1"
  instance_type = "t3.small"
  source_ami    = data.amazon-ami.base.id
  ssh_username  = "admin"
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    inline = ["echo ${data.http.release.body}", "echo ${timestamp()}"]
  }
}
