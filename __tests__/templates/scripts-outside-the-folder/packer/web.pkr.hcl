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

  provisioner "shell" {
    script = "${path.root}/../scripts/setup.sh"
  }
}
