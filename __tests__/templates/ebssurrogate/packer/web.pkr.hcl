variable "image_name" {
  type = string
}

source "amazon-ebssurrogate" "web" {
  ami_name      = var.image_name
  region        = "eu-west-1"
  instance_type = "t3.small"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "admin"
  ami_virtualization_type = "hvm"
  launch_block_device_mappings {
    device_name = "/dev/sdf"
    volume_size = 8
  }
  ami_root_device {
    source_device_name = "/dev/sdf"
    device_name        = "/dev/xvda"
  }
}

build {
  sources = ["source.amazon-ebssurrogate.web"]

  provisioner "file" {
    source      = "chroot"
    destination = "/tmp/chroot"
  }
  provisioner "shell" {
    script = "chroot/bootstrap.sh"
  }
}
