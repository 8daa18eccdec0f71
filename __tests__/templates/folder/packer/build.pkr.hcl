
build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    script = "${local.scripts}/setup.sh"
  }
}
