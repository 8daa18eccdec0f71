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

  provisioner "chef-solo" {
    cookbook_paths                 = ["chef/cookbooks"]
    data_bags_path                 = "chef/data_bags"
    encrypted_data_bag_secret_path = "chef/secret"
    run_list                       = ["recipe[web]"]
  }
}
