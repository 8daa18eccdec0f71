profile = "hardened"
