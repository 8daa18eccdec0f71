# The image of the web servers. Kiln sets image_name, image_version, commit, image_tags and bake_tags; the others come
# from `vars` in .github/kiln.yml. Nothing here knows an environment: dev, qa and production run the same image.
#
# Works with Packer 1.6.6, which carries its Amazon builder inside, and with today's, which wants it installed:
# `packer plugins install github.com/hashicorp/amazon`, or the block in ../plugins.pkr.hcl.example. That block is not
# in this folder because old Packer does not know it.

variable "image_name" {
  type = string
}

variable "image_version" {
  type = string
}

variable "commit" {
  type = string
}

variable "image_tags" {
  type    = map(string)
  default = {}
}

# Which bake it is: on what there is for its time only.
variable "bake_tags" {
  type    = map(string)
  default = {}
}

variable "nginx_version" {
  type    = string
  default = "1.24"
}

variable "region" {
  type    = string
  default = "eu-west-1"
}

# Hardened images listen elsewhere.
variable "ssh_port" {
  type    = number
  default = 22
}

# Where the list of installed packages goes on the machine that runs Packer; empty: nowhere.
variable "inventory_file" {
  type    = string
  default = ""
}

source "amazon-ebs" "web" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "ubuntu"
  ssh_port      = var.ssh_port

  source_ami_filter {
    owners      = ["099720109477"] # Canonical
    most_recent = true
    filters = {
      name                = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  ami_name      = var.image_name
  tags          = merge({ os = "ubuntu-24.04", nginx = var.nginx_version }, var.image_tags)
  snapshot_tags = var.image_tags

  # Whoever finds a build instance that was left behind can tell where it came from.
  run_tags = merge({ Name = "bake of ${var.image_name}" }, var.bake_tags)
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "file" {
    source      = "${path.root}/../app"
    destination = "app"
  }

  provisioner "shell" {
    script = "${path.root}/provision.sh"
    environment_vars = [
      "IMAGE_VERSION=${var.image_version}",
      "COMMIT=${var.commit}",
      "NGINX_VERSION=${var.nginx_version}",
    ]
  }

  provisioner "file" {
    direction   = "download"
    source      = "inventory.txt"
    destination = var.inventory_file == "" ? "/dev/null" : var.inventory_file
  }
}
