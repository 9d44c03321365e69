"""An AI agent on FastAPI: agent.py PORT

POST /v1/chat/completions asks the model at MODEL_API_URL, then the tool "add" of the MCP server at
MCP_SERVER_URL, then the model again, all with httpx, and answers in OpenAI's format. With
"stream": true the last answer of the model is streamed through.
"""

import os
import sys

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

MODEL_API_URL = os.environ["MODEL_API_URL"]
MODEL_API_KEY = os.environ["MODEL_API_KEY"]
MCP_SERVER_URL = os.environ["MCP_SERVER_URL"]

app = FastAPI()
client = httpx.AsyncClient(timeout=30)


def model_request(messages, stream):
    body = {"model": "scripted", "messages": messages, "stream": stream}
    headers = {"authorization": f"Bearer {MODEL_API_KEY}"}
    url = f"{MODEL_API_URL}/v1/chat/completions"
    return client.build_request("POST", url, json=body, headers=headers)


async def ask_model(messages):
    answer = await client.send(model_request(messages, stream=False))
    answer.raise_for_status()
    return answer.json()


async def call_tool(name, arguments):
    """One call in one MCP session, by hand, so that httpx makes every request."""
    headers = {"accept": "application/json, text/event-stream"}

    async def post(body):
        answer = await client.post(MCP_SERVER_URL, json={"jsonrpc": "2.0"} | body, headers=headers)
        answer.raise_for_status()
        return answer

    parameters = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "agent", "version": "1"},
    }
    opened = await post({"id": 1, "method": "initialize", "params": parameters})
    if session := opened.headers.get("mcp-session-id"):
        headers["mcp-session-id"] = session
    headers["mcp-protocol-version"] = "2025-06-18"
    await post({"method": "notifications/initialized"})
    called = await post(
        {"id": 2, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    )
    if session:
        await client.delete(MCP_SERVER_URL, headers=headers)
    return called.text


@app.post("/v1/chat/completions")
async def complete(request: Request):
    body = await request.json()
    messages = body["messages"]
    try:
        await ask_model(messages)
        result = await call_tool("add", {"a": 2, "b": 3})
        messages = [*messages, {"role": "user", "content": f"tool result has {len(result)} bytes"}]
        if not body.get("stream"):
            return await ask_model(messages)
        answer = await client.send(model_request(messages, stream=True), stream=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        return JSONResponse({"error": {"message": str(error)}}, status_code=502)

    async def events():
        try:
            async for piece in answer.aiter_bytes():
                yield piece
        finally:
            await answer.aclose()

    return StreamingResponse(events(), media_type="text/event-stream")


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
