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

variable "app_version" {
  default = env("APP_VERSION")
}
variable "flavour" {
  default = "plain"
}
variable "token" {
  default   = env("TOKEN")
  sensitive = true
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    script           = "scripts/${var.flavour}.sh"
    environment_vars = ["VERSION=${var.app_version}", "TOKEN=${var.token}"]
  }
}
