"""An MCP server with FastMCP, of the generation without sessions: tools.py PORT

The tools are in toolbox.py.
"""

import sys

from fastmcp import FastMCP

import toolbox

server = FastMCP("tools")
for tool in toolbox.TOOLS:
    server.tool(tool)

server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
