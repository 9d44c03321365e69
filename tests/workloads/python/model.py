"""A scripted OpenAI-compatible model server: model.py PORT

The one stand-in among the workloads: it answers from a script in place of a model. A last message
that holds "fail" is answered with HTTP 500; else with its words reversed, as a stream of one event
per word where the request asks for a stream.
"""

import json
import sys

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

app = FastAPI()


@app.post("/v1/chat/completions")
async def complete(request: Request):
    body = await request.json()
    prompt = body["messages"][-1]["content"]
    if "fail" in prompt:
        error = {"message": "the script says fail", "type": "server_error"}
        return JSONResponse({"error": error}, status_code=500)
    words = prompt.split()[::-1]
    base = {"id": "chatcmpl-scripted", "created": 1, "model": body["model"]}
    usage = {
        "prompt_tokens": len(words),
        "completion_tokens": len(words),
        "total_tokens": 2 * len(words),
    }
    if not body.get("stream"):
        message = {"role": "assistant", "content": " ".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return base | {"object": "chat.completion", "choices": [choice], "usage": usage}

    def event(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = base | {"object": "chat.completion.chunk", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n"

    async def events():
        yield event({"role": "assistant", "content": ""})
        for word in words:
            yield event({"content": word + " "})
        yield event({}, "stop")
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
