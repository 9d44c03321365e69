"""An agent as KAOS's was in January 2026: january_agent.py PORT

Its model has no native tool calls: it asks for a tool or a delegation by a fenced block in its
text. Each tool call is an MCP session of its own, with the first major version of the MCP SDK.
Peers are asked by chat completions, with the trace headers that came in, not new ones. Failures
are told as text, with HTTP 200. Configured by the environment variables that KAOS's operator sets.
"""

import json
import os
import re
import sys
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

MODEL_API_URL = os.environ["MODEL_API_URL"]
MODEL_NAME = os.environ["MODEL_NAME"]
MAX_STEPS = int(os.environ.get("AGENTIC_LOOP_MAX_STEPS", "5"))


def named_urls(list_variable: str, url_variable: str) -> dict[str, str]:
    """NAME → URL of those whom a variable lists."""
    names = [name.strip() for name in os.environ.get(list_variable, "").split(",") if name.strip()]
    return {name: os.environ[url_variable.format(name=variable(name))] for name in names}


def variable(name: str) -> str:
    return name.upper().replace("-", "_")


MCP_SERVERS = named_urls("MCP_SERVERS", "MCP_SERVER_{name}_URL")
PEERS = named_urls("PEER_AGENTS", "PEER_AGENT_{name}_CARD_URL")

app = FastAPI()
client = httpx.AsyncClient(timeout=60)
tools: dict[str, str] = {}  # tool → URL of its server
peers_found: set[str] = set()


@asynccontextmanager
async def mcp_session(url):
    async with streamable_http_client(url) as (reader, writer, _):
        async with ClientSession(reader, writer) as session:
            await session.initialize()
            yield session


async def discover():
    """What the system prompt needs, before the first model call."""
    for url in MCP_SERVERS.values():
        if url in tools.values():
            continue
        try:
            async with mcp_session(url) as session:
                listed = await session.list_tools()
        except Exception as error:
            print(f"{url} has no tools: {error}", flush=True)
            continue
        tools.update({tool.name: url for tool in listed.tools})
    for name, url in PEERS.items():
        if name not in peers_found:
            try:
                (await client.get(f"{url}/.well-known/agent")).raise_for_status()
                peers_found.add(name)
            except httpx.HTTPError as error:
                print(f"{name} has no card: {error}", flush=True)


async def call_model(messages):
    body = {"model": MODEL_NAME, "messages": messages, "stream": False}
    answer = await client.post(f"{MODEL_API_URL}/v1/chat/completions", json=body)
    answer.raise_for_status()
    return answer.json()["choices"][0]["message"]["content"]


async def call_tool(name, arguments):
    if name not in tools:
        raise ValueError(f"Tool '{name}' not found")
    async with mcp_session(tools[name]) as session:
        result = await session.call_tool(name, arguments)
    return result.content[0].text


async def delegate(peer, task, context, headers):
    if peer not in peers_found:
        raise RuntimeError(f"Agent {peer} unavailable at {PEERS.get(peer)}")
    messages = [*context, {"role": "task-delegation", "content": task}]
    body = {"model": peer, "messages": messages, "stream": False}
    answer = await client.post(f"{PEERS[peer]}/v1/chat/completions", json=body, headers=headers)
    answer.raise_for_status()
    return answer.json()["choices"][0]["message"]["content"]


def block(text, kind):
    found = re.search(rf"```{kind}\s*(.*?)\s*```", text, re.DOTALL)
    return json.loads(found.group(1)) if found else None


async def run(messages, headers):
    """The agent's loop; returns its answer."""
    await discover()
    role = {"task-delegation": "user"}
    messages = [m | {"role": role.get(m["role"], m["role"])} for m in messages]
    for _ in range(MAX_STEPS):
        text = await call_model([{"role": "system", "content": "You are an agent."}, *messages])
        if wanted := block(text, "tool_call"):
            try:
                told = f"Tool result: {await call_tool(wanted['tool'], wanted['arguments'])}"
            except Exception as error:
                told = f"Tool error: {error}"
        elif wanted := block(text, "delegate"):
            try:
                told = await delegate(wanted["agent"], wanted["task"], messages, headers)
            except Exception as error:
                told = f"[Delegation failed: {error}]"
        else:
            return text
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": told}]
    return f"Reached maximum reasoning steps ({MAX_STEPS})"


async def run_to_the_end(messages, headers):
    try:
        return await run(messages, headers)
    except Exception as error:
        return f"Sorry, I encountered an error: {error}"


@app.get("/.well-known/agent")
async def card():
    return {"name": os.environ.get("AGENT_NAME", "agent"), "description": "", "skills": []}


@app.post("/v1/chat/completions")
async def complete(request: Request):
    body = await request.json()
    messages = body["messages"]
    base = {"id": "chatcmpl-agent", "created": 1, "model": body.get("model", "agent")}
    forwarded = {
        name: request.headers[name]
        for name in ("traceparent", "tracestate")
        if name in request.headers
    }
    if not body.get("stream"):
        text = await run_to_the_end(messages, forwarded)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return base | {"object": "chat.completion", "choices": [choice], "usage": zeros}

    def event(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = base | {"object": "chat.completion.chunk", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n"

    async def events():
        # The context of the request is gone here, and the headers with it.
        text = await run_to_the_end(messages, {})
        for word in text.split(" "):
            yield event({"content": word + " "})
        yield event({}, "stop")
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
