profile = "plain"
