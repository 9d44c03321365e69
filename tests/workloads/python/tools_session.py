"""An MCP server with the SDK's first major version, whose clients open sessions and get
replies as server-sent events: tools_session.py PORT

It has the tools of tools.py.
"""

import sys

from mcp.server.fastmcp import FastMCP

import toolbox

server = FastMCP("tools", host="127.0.0.1", port=int(sys.argv[1]))
for tool in toolbox.TOOLS:
    server.add_tool(tool)

server.run(transport="streamable-http")
