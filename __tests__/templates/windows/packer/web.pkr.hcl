variable "image_name" {
  type = string
}

source "amazon-ebs" "web" {
  ami_name      = var.image_name
  region        = "eu-west-1"
  instance_type = "t3.small"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "admin"
  communicator   = "winrm"
  user_data_file = "packer/winrm.ps1"
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "powershell" {
    scripts = ["windows/iis.ps1"]
  }
  provisioner "windows-shell" {
    script = "windows/last.cmd"
  }
  provisioner "windows-restart" {}
}
