
build {
  sources = ["source.amazon-ebs.web"]

  provisioner "file" {
    source      = "app"
    destination = "/srv"
  }
}
