"""Calls tools with FastMCP's own client: tools_client.py URL TOOL=ARGUMENTS…

ARGUMENTS are JSON. Prints what each call returns, or the kind of the error that it raises.
"""

import asyncio
import json
import sys

from fastmcp import Client


async def show_progress(progress, total, message):
    print(f"progress {progress:g}/{total:g}", flush=True)


async def main(url, calls):
    async with Client(url, progress_handler=show_progress) as client:
        for call in calls:
            tool, arguments = call.split("=", 1)
            try:
                print((await client.call_tool(tool, json.loads(arguments))).data, flush=True)
            except Exception as error:
                print(type(error).__name__, flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
