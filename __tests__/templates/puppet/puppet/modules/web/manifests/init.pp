class web {}
