"""An MCP server with the SDK's first major version: tools_session.py PORT [sse]

Its clients open sessions and get replies as server-sent events; with "sse" in the older way, with
one stream for all replies. It has the tools of tools.py.
"""

import sys

from mcp.server.fastmcp import Context, FastMCP

import toolbox


async def count(to: int, context: Context) -> int:
    """Counts, and tells its progress."""
    for number in range(to):
        await context.report_progress(number + 1, to)
    return to


server = FastMCP("tools", host="127.0.0.1", port=int(sys.argv[1]))
for tool in (*toolbox.TOOLS, count):
    server.add_tool(tool)

server.run(transport="sse" if sys.argv[2:] == ["sse"] else "streamable-http")
