#!/bin/sh
# Makes a web server of a plain Ubuntu. DESTDIR is empty on a real machine; a rehearsal sets it to a scratch folder,
# so that this very script runs there too.
set -eu

# Ubuntu's own first-boot work holds apt's lock until it is done.
cloud-init status --wait

sudo apt-get update -q
sudo DEBIAN_FRONTEND=noninteractive apt-get install -q -y "nginx=${NGINX_VERSION}.*" python3-minimal

web="${DESTDIR:-}/opt/web"
sudo install -D -m 0755 app/server.py "$web/server.py"
sudo install -D -m 0644 app/public/index.html "$web/public/index.html"
printf '{"version": "%s", "commit": "%s"}\n' "$IMAGE_VERSION" "$COMMIT" | sudo tee "$web/build.json"

sudo install -D -m 0644 app/web.service "${DESTDIR:-}/etc/systemd/system/web.service"
sudo install -D -m 0644 app/nginx.conf "${DESTDIR:-}/etc/nginx/sites-available/default"
sudo systemctl enable nginx.service web.service

# What is inside, for the comparison of two releases; the template fetches it.
dpkg-query -W -f '${Package}\t${Version}\n' > inventory.txt

# Every instance must be someone of its own: no keys of the build, no machine id.
rm -rf app
sudo cloud-init clean --logs --machine-id
