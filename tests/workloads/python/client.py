"""An HTTP client for the tests: client.py LIBRARY URL…

LIBRARY is httpx, aiohttp or requests. Gets the URLs one after the other on kept connections and prints
"METHOD PATH STATUS BYTES" for each: what the client itself knows.
"""

import asyncio
import sys
from urllib.parse import urlsplit


async def get_with_httpx(urls):
    import httpx

    async with httpx.AsyncClient() as client:
        for url in urls:
            answer = await client.get(url)
            yield url, answer.status_code, answer.content


async def get_with_aiohttp(urls):
    from aiohttp import ClientSession

    async with ClientSession() as session:
        for url in urls:
            async with session.get(url) as answer:
                yield url, answer.status, await answer.read()


async def get_with_requests(urls):
    import requests

    with requests.Session() as session:
        for url in urls:
            answer = session.get(url)
            yield url, answer.status_code, answer.content


async def main(library, urls):
    get = {
        "httpx": get_with_httpx,
        "aiohttp": get_with_aiohttp,
        "requests": get_with_requests,
    }[library]
    async for url, status, body in get(urls):
        print(f"GET {urlsplit(url).path} {status} {len(body)}", flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
