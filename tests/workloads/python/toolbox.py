"""The tools of both MCP servers."""

import asyncio


async def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


async def fail(reason: str) -> str:
    """Raises."""
    raise ValueError(reason)


async def wait() -> str:
    """Says that it waits, and does so for as long as the server runs."""
    print("waiting", flush=True)
    await asyncio.Event().wait()
    return "never"


TOOLS = [add, fail, wait]
