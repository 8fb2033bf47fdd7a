"""The services' health check: exit 0 when /health answers 200. Only `socket` is imported, to be quick."""

import os
import socket
import sys

with socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "8000"))), timeout=5) as conn:
    conn.sendall(b"GET /health HTTP/1.0\r\n\r\n")
    answer = b""
    while data := conn.recv(4096):
        answer += data
print(answer.partition(b"\r\n\r\n")[2].decode(errors="replace").strip() or answer.decode(errors="replace"))
sys.exit(0 if answer.split(None, 2)[1:2] == [b"200"] else 1)
