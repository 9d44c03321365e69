"""A server whose calls have a known cause: causes.py KIND PORT URL

Answers GET /in/ID after four calls of URL/out/ID/0 to 3, made in ways that differ with KIND, which is
SERVER-CLIENT-SHAPE. It says "listening" when it does. It speaks TLS where TLS_CERTIFICATE and TLS_KEY name
files, and trusts that certificate.
"""

import asyncio
import contextvars
import itertools
import os
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

CALLS = 4
CERTIFICATE, KEY = os.environ.get("TLS_CERTIFICATE"), os.environ.get("TLS_KEY")


def listener(port):
    """A socket that listens, so that it is certain when the server can be asked."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock


def server_tls():
    """What a server needs to speak TLS, if it does."""
    if not CERTIFICATE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    return context


class Raw:
    """A client without a library: a connection per call."""

    def __init__(self, url):
        scheme, _, address = url.partition("://")
        self.host, _, port = address.partition(":")
        self.port = int(port)
        self.tls = ssl.create_default_context(cafile=CERTIFICATE) if scheme == "https" else None

    def request(self, path):
        head = f"GET {path} HTTP/1.1\r\nhost: {self.host}\r\nconnection: close\r\n".encode()
        return head + traceparent.get() + b"\r\n"

    async def get(self, path):
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        writer.write(self.request(path))
        answer = await reader.read()
        writer.close()
        return answer

    def connect(self):
        sock = socket.create_connection((self.host, self.port))
        return self.tls.wrap_socket(sock, server_hostname=self.host) if self.tls else sock

    def get_blocking(self, path):
        with self.connect() as sock:
            sock.sendall(self.request(path))
            while sock.recv(65536):
                pass


class Httpx:
    """httpx with one pool of connections for all requests."""

    def __init__(self, url):
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        self.url = url
        self.client = httpx.AsyncClient(limits=limits, timeout=60)
        self.blocking = httpx.Client(limits=limits, timeout=60)

    async def get(self, path):
        return await self.client.get(self.url + path)

    def get_blocking(self, path):
        return self.blocking.get(self.url + path)


class Aiohttp(Raw):
    """aiohttp's client with one pool of connections for all requests."""

    session = None

    def __init__(self, url):
        super().__init__(url)
        self.url = url

    async def get(self, path):
        import aiohttp

        if self.session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self.tls or True)
            self.session = aiohttp.ClientSession(connector=connector)
        async with self.session.get(self.url + path) as answer:
            return await answer.read()


def paths(ident):
    return [f"/out/{ident}/{number}" for number in range(CALLS)]


# Ways whose causes are all known.
mixed = ["plain", "gather", "group", "anyio", "thread"]
background = set()
executor = ThreadPoolExecutor(16)
variable = contextvars.ContextVar("variable")
# The line of the request that is served, which the client without a library sends on as it came.
traceparent = contextvars.ContextVar("traceparent", default=b"")
empty = contextvars.Context()


async def calls(client, shape, ident):
    """The calls of a request, in the way that the shape says."""
    variable.set(ident)
    todo = paths(ident)
    if shape == "mix":
        shape = mixed[int(ident) % len(mixed)]
    match shape:
        case "gather":
            await asyncio.gather(*map(client.get, todo))
        case "group":
            async with asyncio.TaskGroup() as group:
                for path in todo:
                    group.create_task(client.get(path))
        case "anyio":
            import anyio

            async with anyio.create_task_group() as group:
                for path in todo:
                    group.start_soon(client.get, path)
        case "thread":
            for path in todo:
                await asyncio.to_thread(client.get_blocking, path)
        case "executor" | "inherit":
            loop = asyncio.get_running_loop()
            for path in todo:
                await loop.run_in_executor(executor, client.get_blocking, path)
        case "later":
            async def afterwards():
                await asyncio.sleep(0.05)
                for path in todo[2:]:
                    await client.get(path)

            for path in todo[:2]:
                await client.get(path)
            task = asyncio.create_task(afterwards())
            background.add(task)
            task.add_done_callback(background.discard)
        case "eager":
            loop = asyncio.get_running_loop()
            tasks = [
                asyncio.eager_task_factory(loop, client.get(path)) for path in todo
            ]
            await asyncio.gather(*tasks)
        case "fresh":
            # In contexts that are no copies of the request's, at the address of one that was.
            loop = asyncio.get_running_loop()
            for number, path in enumerate(todo):
                contextvars.copy_context()
                context = empty.copy() if number % 2 else contextvars.Context()
                await loop.create_task(client.get(path), context=context)
        case _:
            for path in todo:
                await client.get(path)


def asgi(client, shape):
    """An application of bare ASGI."""

    async def application(scope, receive, send):
        if scope["type"] != "http":
            return
        ident = scope["path"].removeprefix("/in/")
        if context := dict(scope["headers"]).get(b"traceparent"):
            traceparent.set(b"traceparent: " + context + b"\r\n")
        start = {"type": "http.response.start", "status": 200, "headers": []}
        if shape == "stream":
            await send(start)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await calls(client, shape, ident)
        else:
            await calls(client, shape, ident)
            await send(start | {"headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    return application


def starlette(client, shape):
    """An application of Starlette: streams from a child task, has middleware, or is synchronous."""
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    async def streaming(request):
        async def pieces():
            yield b"x"
            await calls(client, shape, request.path_params["ident"])
            yield b"done"

        return StreamingResponse(pieces())

    def sync(request):
        for path in paths(request.path_params["ident"]):
            client.get_blocking(path)
        return PlainTextResponse("done")

    async def plain(request):
        await calls(client, shape, request.path_params["ident"])
        return PlainTextResponse("done")

    async def with_background(request):
        ident = request.path_params["ident"]
        async def work():
            for path in paths(ident):
                await client.get(path)
        return PlainTextResponse("done", background=BackgroundTask(work))

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    endpoint = {
        "stream": streaming,
        "middlestream": streaming,
        "sync": sync,
        "background": with_background,
    }.get(shape, plain)
    middleware = [Middleware(Passing)] if shape.startswith("middle") else []
    return Starlette(routes=[Route("/in/{ident}", endpoint)], middleware=middleware)


def wsgi(client):
    """An application of WSGI."""

    def application(environ, start_response):
        for path in paths(environ["PATH_INFO"].removeprefix("/in/")):
            client.get_blocking(path)
        start_response("200 OK", [("content-length", "4")])
        return [b"done"]

    return application


def run_gunicorn(application, port, worker_class, **settings):
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self):
            self.cfg.set("bind", f"127.0.0.1:{port}")
            self.cfg.set("workers", 2)
            self.cfg.set("worker_class", worker_class)
            if CERTIFICATE:
                self.cfg.set("certfile", CERTIFICATE)
                self.cfg.set("keyfile", KEY)
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self):
            return application

    Server().run()


def uvicorn_settings():
    return {
        "access_log": False,
        "log_level": "warning",
        "ssl_certfile": CERTIFICATE,
        "ssl_keyfile": KEY,
        # The tests hold connections for as long as they need.
        "timeout_keep_alive": 3600,
    }


def run_uvicorn(application, port, **settings):
    import uvicorn

    config = uvicorn.Config(application, **uvicorn_settings(), **settings)
    uvicorn.Server(config).run(sockets=[listener(port)])


def run_uvicorn_workers(port):
    """Two workers of uvicorn's own, each of which imports this file."""
    import uvicorn

    settings = uvicorn_settings()
    uvicorn.run("causes:application_of_worker", factory=True, port=port, workers=2, **settings)


def application_of_worker():
    _, client, shape = parsed()
    return asgi(client, shape)


def run_hypercorn(application, port):
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.backlog = 1024
    config.certfile, config.keyfile = CERTIFICATE, KEY
    asyncio.run(serve(application, config))


def run_aiohttp(client, shape, port):
    from aiohttp import web

    async def handle(request):
        ident = request.match_info["ident"]
        if shape == "stream":
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b"x")
            await calls(client, shape, ident)
            await answer.write_eof(b"done")
            return answer
        await calls(client, shape, ident)
        return web.Response(text="done")

    application = web.Application()
    application.add_routes([web.get("/in/{ident}", handle)])
    web.run_app(
        application, sock=listener(port), ssl_context=server_tls(), print=None, access_log=None
    )


def run_tornado(client, shape, port):
    import tornado.httpserver
    import tornado.web

    class Handler(tornado.web.RequestHandler):
        async def get(self, ident):
            if shape == "stream":
                self.write("x")
                await self.flush()
            await calls(client, shape, ident)
            self.write("done")

    async def main():
        application = tornado.web.Application([("/in/(.*)", Handler)])
        server = tornado.httpserver.HTTPServer(application, ssl_options=server_tls())
        sock = listener(port)
        sock.setblocking(False)
        server.add_socket(sock)
        await asyncio.Event().wait()

    asyncio.run(main())


def run_threads(client, port):
    """A thread per connection, of the standard library."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            ident = self.path.removeprefix("/in/")
            variable.set(ident)
            for path in paths(ident):
                client.get_blocking(path)
            self.send_response(200)
            self.send_header("content-length", "4")
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, *_):
            pass

    ThreadingHTTPServer.request_queue_size = 1024
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if context := server_tls():
        # Each thread shakes hands on its own.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.serve_forever()


def run_flask(client, port):
    """Threaded Flask, with its own server."""
    from flask import Flask

    application = Flask("causes")

    @application.get("/in/<ident>")
    def handle(ident):
        for path in paths(ident):
            client.get_blocking(path)
        return "done"

    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application.run("127.0.0.1", port, threaded=True, ssl_context=server_tls())


def parsed():
    """Name of the server, client and shape."""
    server, name, shape = sys.argv[1].split("-")
    client = {"raw": Raw, "httpx": Httpx, "aiohttp": Aiohttp}[name](sys.argv[3])
    return server, client, shape


def main():
    server, client, shape = parsed()
    port = int(sys.argv[2])
    if shape == "inherit" and not sys.flags.thread_inherit_context:
        # Each thread begins in a copy of its starter's context: of 3.14, which the executor has too.
        options = [sys.executable, "-u", "-X", "thread_inherit_context=1"]
        os.execv(sys.executable, options + sys.argv)
    if server.startswith("starlette"):
        application, server = starlette(client, shape), server.replace("starlette", "uvicorn")
    else:
        application = asgi(client, shape)
    threading.Thread(target=say_when_listening, args=[port], daemon=True).start()
    match server:
        case "uvicorn":
            run_uvicorn(application, port, loop="asyncio", http="h11")
        case "uvicornuv":
            run_uvicorn(application, port, loop="uvloop", http="httptools")
        case "workers":
            run_uvicorn_workers(port)
        case "gunicorn":
            run_gunicorn(application, port, "uvicorn.workers.UvicornWorker")
        case "gthread":
            run_gunicorn(wsgi(client), port, "gthread", threads=64)
        case "hypercorn":
            run_hypercorn(application, port)
        case "aiohttp":
            run_aiohttp(client, shape, port)
        case "tornado":
            run_tornado(client, shape, port)
        case "threads":
            run_threads(client, port)
        case "flask":
            run_flask(client, port)


def say_when_listening(port):
    for _ in itertools.count():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            threading.Event().wait(0.02)
    print("listening", flush=True)


if __name__ == "__main__":
    main()
