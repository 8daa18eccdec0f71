source "amazon-ebs" "worker" {
  ami_name     = "worker"
  source_ami   = "ami-0123456789abcdef0"
  ssh_username = "admin"
}
