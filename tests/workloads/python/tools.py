"""An MCP server with FastMCP, of the generation without sessions: tools.py PORT

The tools are in toolbox.py, but for one that needs the library.
"""

import os
import sys

from fastmcp import Context, FastMCP

import toolbox


async def count(to: int, context: Context) -> int:
    """Counts, and tells its progress."""
    for number in range(to):
        await context.report_progress(number + 1, to)
    return to


server = FastMCP("tools")
for tool in (*toolbox.TOOLS, count):
    server.tool(tool)

host = os.environ.get("HOST", "127.0.0.1")
server.run(transport="http", host=host, port=int(sys.argv[1]), show_banner=False)
