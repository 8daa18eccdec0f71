locals {
  scripts = "${path.root}/scripts"
}
