#!/usr/bin/env python3
"""Serves the static page with its version filled in, and /healthz for the load balancer."""

import json
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = pathlib.Path(__file__).resolve().parent
BUILD = json.loads((HERE / "build.json").read_text())
PAGE = (HERE / "public" / "index.html").read_text()
for name, value in BUILD.items():
    PAGE = PAGE.replace("{{" + name + "}}", value)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.answer("application/json", json.dumps(BUILD))
        elif self.path == "/":
            self.answer("text/html; charset=utf-8", PAGE)
        else:
            self.send_error(404)

    def answer(self, content_type, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
