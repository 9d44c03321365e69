"""What servers and clients are free to do and seldom do: unusual.py serve PORT | ask URL

As a server: MCP with batches of JSON-RPC, answered as JSON in another order or as an event stream
with one result in each event; models that call their answers plain text, or lines JSON. As a client
it asks for all of that, and prints what it was answered.
"""

import json
import sys

ADD, MULTIPLY, FAIL = (
    {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    for ident, (name, arguments) in enumerate(
        (("add", {"a": 2, "b": 3}), ("multiply", {"a": 2, "b": 3}), ("fail", {"reason": "it must"})), 1
    )
)
LIST = {"jsonrpc": "2.0", "id": "list", "method": "tools/list"}
NOTE = {"jsonrpc": "2.0", "method": "notifications/initialized"}
CHAT = {"model": "odd", "messages": [{"role": "user", "content": "hi"}]}
WORDS = ("so", " it", " goes")


def result(message):
    ident, name = message["id"], message.get("params", {}).get("name")
    if message["method"] == "tools/list":
        return {"jsonrpc": "2.0", "id": ident, "result": {"tools": []}}
    if name == "multiply":
        return {"jsonrpc": "2.0", "id": ident, "error": {"code": -32602, "message": "no such tool"}}
    content = [{"type": "text", "text": "5"}]
    return {"jsonrpc": "2.0", "id": ident, "result": {"content": content, "isError": name == "fail"}}


def serve(port):
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.post("/mcp")
    async def mcp(request: Request):
        answers = [result(message) for message in await request.json() if "id" in message]
        answers.reverse()
        if "application/json" in request.headers["accept"]:
            return Response(json.dumps(answers), media_type="application/json")
        events = (f"event: message\ndata: {json.dumps(answer)}\n\n" for answer in answers)
        return StreamingResponse(events, media_type="text/event-stream")

    @app.post("/v1/chat/completions")
    async def chat(request: Request):
        usage = {"prompt_tokens": 4, "completion_tokens": 3}
        body = {"id": "odd-1", "model": "odd-2", "usage": usage}
        if not json.loads(await request.body()).get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return Response(json.dumps(body), media_type="text/plain")

        def events():
            for word in WORDS:
                choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
                yield f"data: {json.dumps({'id': 'odd-1', 'choices': [choice]})}\n\n"
            body["choices"] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
            yield f"data: {json.dumps(body)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/plain")

    @app.post("/api/chat")
    async def lines(request: Request):
        def answers():
            for word in WORDS:
                message = {"role": "assistant", "content": word}
                yield json.dumps({"model": "odd", "message": message, "done": False}) + "\n"
            yield json.dumps({"model": "odd", "done": True, "eval_count": 3}) + "\n"

        return StreamingResponse(answers(), media_type="application/json")

    @app.post("/text")
    async def text(request: Request):
        return Response(await request.body(), media_type="text/plain")

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", loop="asyncio", http="h11")


def ask(url):
    import httpx

    with httpx.Client() as client:

        def post(path, body, **headers):
            answer = client.post(url + path, content=body, headers=headers, timeout=30)
            print(path, answer.status_code, answer.text)

        json_type = {"content-type": "application/json"}
        batch = json.dumps([ADD, MULTIPLY, LIST, NOTE, FAIL])
        post("/mcp", batch, accept="application/json", **json_type)
        post("/mcp", batch, accept="text/event-stream", **json_type)
        post("/mcp", json.dumps([LIST, ADD]), accept="application/json", **{"content-type": "text/plain"})
        for stream in (False, True):
            body = json.dumps(CHAT | {"stream": stream})
            post("/v1/chat/completions", body, **{"content-type": "text/plain"})
            post("/v1/chat/completions", body)
        post("/api/chat", json.dumps(CHAT), **json_type)
        # What only looks like a message, to a path that nobody knows.
        post("/text", json.dumps(ADD), **{"content-type": "text/plain"})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port]:
            serve(port)
        case ["ask", url]:
            ask(url)
        case _:
            sys.exit(__doc__)
