"""An HTTP client on the TLS library that a package brings: bundled.py PACKAGE PIPE

PACKAGE is psycopg (its wheel has a libssl of its own, with another name), cryptography (its module
has OpenSSL linked into it), curl_cffi (its module has curl with BoringSSL) or ssl (the standard library's;
that of Python 3.9, too). Gets the URLs that come through PIPE, a line each, one after the other on
a kept connection, and prints "METHOD PATH STATUS BYTES" for each: what the client itself knows.
"""

import http.client
import io
import os
import socket
import sys
from urllib.parse import urlsplit


class OfPsycopg:
    """The libssl beside the module, which the module has loaded."""

    def __init__(self):
        import ctypes

        import psycopg

        assert psycopg.pq.__impl__ == "binary"
        with open("/proc/self/maps") as maps:
            path = next(line.split()[-1] for line in maps if "psycopg_binary.libs/libssl" in line)
        self.ctypes, self.lib = ctypes, ctypes.CDLL(path)
        for name in ("TLS_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.null = None

    def pointer(self, value):
        return self.ctypes.c_void_p(value)

    def buffer(self, size):
        return self.ctypes.create_string_buffer(size)

    def wrap(self, connection, _name):
        return Stream(self, connection)

    def bytes(self, buffer, size):
        return buffer.raw[:size]


class OfCryptography:
    """What is inside of the module."""

    def __init__(self):
        from cryptography.hazmat.bindings._rust import _openssl

        self.lib, self.ffi = _openssl.lib, _openssl.ffi
        self.null = self.ffi.NULL

    def pointer(self, value):
        return value

    def buffer(self, size):
        return self.ffi.new("char[]", size)

    def wrap(self, connection, _name):
        return Stream(self, connection)

    def bytes(self, buffer, size):
        return self.ffi.buffer(buffer, size)[:]


class OfStandardLibrary:
    """The interpreter's own."""

    def __init__(self):
        import ssl

        self.context = ssl.create_default_context()

    def wrap(self, connection, name):
        return self.context.wrap_socket(connection, server_hostname=name)


class Stream:
    """A TLS connection, as far as `http.client` needs it."""

    def __init__(self, library, connection):
        self.library, self.connection, lib = library, connection, library.lib
        context = library.pointer(lib.SSL_CTX_new(library.pointer(lib.TLS_method())))
        trusted = os.environ["SSL_CERT_FILE"].encode()
        assert lib.SSL_CTX_load_verify_locations(context, trusted, library.null) == 1
        lib.SSL_CTX_set_verify(context, 1, library.null)
        self.ssl = library.pointer(lib.SSL_new(context))
        assert lib.SSL_set_fd(self.ssl, connection.fileno()) == 1
        lib.SSL_set_connect_state(self.ssl)
        assert lib.SSL_do_handshake(self.ssl) == 1

    def readinto(self, into):
        buffer = self.library.buffer(len(into))
        size = self.library.lib.SSL_read(self.ssl, buffer, len(into))
        assert size >= 0
        into[:size] = self.library.bytes(buffer, size)
        return size

    def sendall(self, data):
        data = bytes(data)
        assert self.library.lib.SSL_write(self.ssl, data, len(data)) == len(data)

    def makefile(self, _mode):
        return io.BufferedReader(_Kept(self))

    def close(self):
        self.library.lib.SSL_free(self.ssl)
        self.connection.close()


class _Kept(io.RawIOBase):
    """Reads from a stream that outlives it."""

    def __init__(self, stream):
        self.stream = stream

    def readable(self):
        return True

    def readinto(self, into):
        return self.stream.readinto(into)


class OfHttpClient:
    """The standard library's HTTP on a connection of one of these."""

    def __init__(self, library):
        self.library, self.client = library, None

    def get(self, url):
        parts = urlsplit(url)
        if self.client is None:
            self.client = http.client.HTTPConnection(parts.hostname, parts.port)
            self.client.sock = socket.create_connection((parts.hostname, parts.port))
            if parts.scheme == "https":
                self.client.sock = self.library.wrap(self.client.sock, parts.hostname)
        self.client.request("GET", parts.path)
        answer = self.client.getresponse()
        return answer.status, answer.read()

    def close(self):
        self.client.close()


class OfCurl:
    """curl's own HTTP."""

    def __init__(self):
        from curl_cffi import requests

        self.session = requests.Session(http_version="v1", verify=os.environ.get("SSL_CERT_FILE", True))

    def get(self, url):
        answer = self.session.get(url)
        return answer.status_code, answer.content

    def close(self):
        self.session.close()


CLIENTS = {
    "psycopg": lambda: OfHttpClient(OfPsycopg()),
    "cryptography": lambda: OfHttpClient(OfCryptography()),
    "curl_cffi": OfCurl,
    "ssl": lambda: OfHttpClient(OfStandardLibrary()),
}


def main(package, pipe):
    client = CLIENTS[package]()
    with open(pipe) as urls:
        for url in urls.read().split():
            status, body = client.get(url)
            print(f"GET {urlsplit(url).path} {status} {len(body)}", flush=True)
    client.close()


main(*sys.argv[1:])
