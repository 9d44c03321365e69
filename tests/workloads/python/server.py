"""An HTTP server for the tests: server.py KIND PORT

KIND is h11 or httptools (uvicorn on asyncio with h11, on uvloop with httptools), or aiohttp.

/echo/ID answers with the request's body, /stream/ID in three pieces, /status/CODE/ID with that
status; /call/ID?url=URL gets URL with the client library that belongs to the server (httpx or
aiohttp) and answers with what came back; /wait/ID answers when /release/ID was asked for.

It speaks TLS where TLS_CERTIFICATE and TLS_KEY name files.
"""

import asyncio
import os
import ssl
import sys

CERTIFICATE, KEY = os.environ.get("TLS_CERTIFICATE"), os.environ.get("TLS_KEY")

PIECES = [f"piece {number}\n".encode() for number in range(3)]


def asgi_app():
    import httpx
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import StreamingResponse

    app = FastAPI()
    released: dict[str, asyncio.Event] = {}

    @app.api_route("/echo/{ident}", methods=["GET", "HEAD", "POST", "PUT"])
    async def echo(ident: str, request: Request):
        return Response(await request.body())

    @app.get("/stream/{ident}")
    async def stream(ident: str):
        async def pieces():
            for piece in PIECES:
                yield piece

        return StreamingResponse(pieces(), media_type="text/plain")

    @app.api_route("/status/{code}/{ident}", methods=["GET", "POST"])
    async def status(code: int, ident: str):
        return Response(status_code=code)

    @app.get("/call/{ident}")
    async def call(ident: str, url: str):
        async with httpx.AsyncClient() as client:
            answer = await client.get(url)
        return Response(answer.content, status_code=answer.status_code)

    @app.get("/wait/{ident}")
    async def wait(ident: str):
        print("waiting", ident)
        await released.setdefault(ident, asyncio.Event()).wait()
        return Response(b"released")

    @app.get("/release/{ident}")
    async def release(ident: str):
        released.setdefault(ident, asyncio.Event()).set()
        return Response(b"done")

    return app


def serve_uvicorn(kind: str, port: int):
    import uvicorn

    loop = {"h11": "asyncio", "httptools": "uvloop"}[kind]
    # No time limit on idle connections: the tests hold some open for as long as they need.
    uvicorn.run(
        asgi_app(),
        host="127.0.0.1",
        port=port,
        http=kind,
        loop=loop,
        timeout_keep_alive=3600,
        ssl_certfile=CERTIFICATE,
        ssl_keyfile=KEY,
    )


def serve_aiohttp(port: int):
    from aiohttp import ClientSession, web

    async def echo(request):
        return web.Response(body=await request.read())

    async def stream(request):
        response = web.StreamResponse()
        response.content_type = "text/plain"
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
        await response.write_eof()
        return response

    async def status(request):
        return web.Response(status=int(request.match_info["code"]))

    async def call(request):
        async with ClientSession() as session:
            async with session.get(request.query["url"]) as answer:
                return web.Response(body=await answer.read(), status=answer.status)

    app = web.Application()
    app.router.add_route("*", "/echo/{ident}", echo)
    app.router.add_get("/stream/{ident}", stream)
    app.router.add_route("*", "/status/{code}/{ident}", status)
    app.router.add_get("/call/{ident}", call)
    context = None
    if CERTIFICATE:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE, KEY)
    web.run_app(app, host="127.0.0.1", port=port, keepalive_timeout=3600, ssl_context=context)


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "aiohttp":
        serve_aiohttp(port)
    else:
        serve_uvicorn(kind, port)
