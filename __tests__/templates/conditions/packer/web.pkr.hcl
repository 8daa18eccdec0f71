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
variable "hardened" {
  type    = bool
  default = false
}
variable "region" {}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    scripts = [
      var.hardened ? "scripts/hardened.sh" : "scripts/plain.sh",
      var.region == "eu-west-1" ? "scripts/eu.sh" : "scripts/us.sh",
    ]
  }
}
