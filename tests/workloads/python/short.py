"""A process that serves a few requests of its own and ends: short.py COUNT

Each is asked for at /HOSTNAME/NUMBER, so that who is told of it can be compared with who it was.
"""

import http.server
import os
import sys
import threading
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for number in range(int(sys.argv[1])):
    url = f"http://127.0.0.1:{server.server_port}/{os.environ['HOSTNAME']}/{number}"
    assert urllib.request.urlopen(url).read() == b"ok"
