"""Calls the tool of tools.py with FastMCP's own client: tools_client.py URL"""

import asyncio
import sys

from fastmcp import Client


async def main(url):
    async with Client(url) as client:
        result = await client.call_tool("add", {"a": 2, "b": 3})
        print(result.data)


asyncio.run(main(sys.argv[1]))
