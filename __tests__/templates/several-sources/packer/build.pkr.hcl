build {
  sources = ["source.amazon-ebs.web", "source.amazon-ebs.worker"]

  provisioner "shell" {
    only   = ["amazon-ebs.web"]
    script = "scripts/web.sh"
  }
  provisioner "shell" {
    only   = ["amazon-ebs.worker"]
    script = "scripts/worker.sh"
  }
}
