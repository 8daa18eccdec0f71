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

locals {
  root    = abspath("${path.root}/..")
  files   = "${local.root}/files"
  scripts = [for name in ["base", "web"] : format("%s/scripts/%s.sh", local.root, name)]
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "file" {
    source      = "${local.files}/"
    destination = "/srv"
  }
  provisioner "shell" {
    scripts = concat(local.scripts, ["scripts/last.sh"])
  }
}
