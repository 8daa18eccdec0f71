variable "image_name" {
  type = string
}

source "amazon-ebs" "web" {
  ami_name      = var.image_name
  region        = "eu-west-1"
  instance_type = "t3.small"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "admin"
  user_data = <<-EOT
    #cloud-config
    write_files:
      - path: /etc/motd
        content: ${jsonencode(file("motd"))}
    # provisioner "shell" { script = "no.sh" }
  EOT
}
