"""The tools of both MCP servers. NAMED_TOOLS: so many more, `run_0` and on."""

import asyncio
import os


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


def named(number: int):
    """A tool whose name says for which run it is called."""

    async def tool() -> int:
        return number

    tool.__name__ = f"run_{number}"
    tool.__doc__ = f"Says {number}."
    return tool


TOOLS = [add, fail, wait, *map(named, range(int(os.environ.get("NAMED_TOOLS", "0"))))]
