flavour = "first"
