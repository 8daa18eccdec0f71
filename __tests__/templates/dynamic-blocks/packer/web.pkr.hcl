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
  steps = { shell = "scripts/a.sh", powershell = "scripts/b.ps1" }
}

build {
  sources = ["source.amazon-ebs.web"]

  dynamic "provisioner" {
    for_each = local.steps
    labels   = [provisioner.key]
    content {
      script = provisioner.value
    }
  }
}
