flavour = "third"
