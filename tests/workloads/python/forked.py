"""Forks children that live for one call each, over TLS, in an event loop of their own: forked.py URL COUNT

A few live at a time. It fails where one of them does.
"""

import asyncio
import os
import ssl
import sys
from urllib.parse import urlsplit

AT_A_TIME = 8
url = urlsplit(sys.argv[1])
tls = ssl.create_default_context()


async def call():
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
    request = f"GET {url.path} HTTP/1.1\r\nhost: {url.hostname}\r\nconnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200"), answer


def fork():
    if os.fork() == 0:
        asyncio.run(call())
        # Without what the interpreter tidies up at its end: the TLS connection is not freed.
        os._exit(0)


def wait():
    _, status = os.wait()
    assert status == 0, status


for number in range(int(sys.argv[2])):
    if number >= AT_A_TIME:
        wait()
    fork()
for _ in range(min(AT_A_TIME, int(sys.argv[2]))):
    wait()
