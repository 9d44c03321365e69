"""Ollama's API: chat, generate, embed; streams are lines of JSON."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from scripted.script import Message, answer
from scripted.streaming import json_lines, paced, whole

router = APIRouter(prefix="/api")

BASE = {"created_at": "2026-01-01T00:00:00.000000Z"}


@router.post("/chat")
async def chat(request: Request):
    body = await request.json()
    conversation = [Message(m["role"], m.get("content") or "") for m in body["messages"]]
    told = answer(conversation, offers_tools=bool(body.get("tools")))
    calls = [{"function": {"name": c.name, "arguments": c.arguments}} for c in told.calls]

    def message(text, calls=()):
        said = {"role": "assistant", "content": text}
        return {"message": said | ({"tool_calls": calls} if calls else {})}

    return await respond(body, told, message, message(told.text, calls), calls)


@router.post("/generate")
async def generate(request: Request):
    body = await request.json()
    told = answer([Message("user", body["prompt"])], offers_tools=False)

    def message(text, _calls=()):
        return {"response": text}

    return await respond(body, told, message, message(told.text), [])


@router.post("/embed")
async def embed(request: Request):
    body = await request.json()
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    tokens = sum(len(text.split()) for text in inputs)
    vectors = [[0.25, -0.5, 1.0] for _ in inputs]
    return {"model": body["model"], "embeddings": vectors, "prompt_eval_count": tokens}


async def respond(body, told, message, complete, calls):
    """The answer as one object, or, as Ollama does unless it is told not to, as a stream."""
    if told.status != 200:
        return JSONResponse({"error": f"the script says {told.status}"}, status_code=told.status)
    base = BASE | {"model": body["model"]}
    end = {
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": told.usage.prompt,
        "eval_count": told.usage.completion,
    }
    if not body.get("stream", True):
        return await whole(told, base | complete | end)

    async def lines():
        async for piece in paced(told):
            yield json.dumps(base | message(piece) | {"done": False}) + "\n"
        if told.error:
            yield json.dumps({"error": told.error}) + "\n"
            return
        if calls:
            yield json.dumps(base | message("", calls) | {"done": False}) + "\n"
        yield json.dumps(base | message("") | end) + "\n"

    return json_lines(lines())
