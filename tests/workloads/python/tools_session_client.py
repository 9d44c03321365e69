"""Calls tools with the client of the MCP SDK's first major version, all in one session:
tools_session_client.py URL TOOL=ARGUMENTS…

ARGUMENTS are JSON. A URL that ends in /sse is called in the older way. Prints the text that each
call returns, or the kind of the error that it raises.
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client


async def show_progress(progress, total, message):
    print(f"progress {progress:g}/{total:g}", flush=True)


async def main(url, calls):
    connect = sse_client if url.endswith("/sse") else streamable_http_client
    async with connect(url) as (reader, writer, *_):
        async with ClientSession(reader, writer) as session:
            await session.initialize()
            for call in calls:
                tool, arguments = call.split("=", 1)
                try:
                    result = await session.call_tool(
                        tool, json.loads(arguments), progress_callback=show_progress
                    )
                    print("failed" if result.isError else result.content[0].text, flush=True)
                except Exception as error:
                    print(type(error).__name__, flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
