"""Anthropic's API: messages."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from scripted.openai_api import named_event, text_of
from scripted.script import Message, answer
from scripted.streaming import paced, server_sent_events, whole

router = APIRouter(prefix="/v1")


@router.post("/messages")
async def messages(request: Request):
    body = await request.json()
    conversation = [Message(m["role"], text_of(m["content"])) for m in body["messages"]]
    told = answer(conversation, offers_tools="tools" in body)
    if told.status != 200:
        kind = "rate_limit_error" if told.status == 429 else "api_error"
        error = {"type": kind, "message": f"the script says {told.status}"}
        return JSONResponse({"type": "error", "error": error}, status_code=told.status)
    base = {"id": "msg_scripted", "type": "message", "role": "assistant", "model": body["model"]}
    stop = {"stop_reason": "tool_use" if told.calls else "end_turn", "stop_sequence": None}
    used = {"input_tokens": told.usage.prompt, "cache_read_input_tokens": told.usage.cached}
    produced = {"output_tokens": told.usage.completion}
    texts = [{"type": "text", "text": told.text}] if told.text else []
    calls = [
        {"type": "tool_use", "id": call.ident, "name": call.name, "input": call.arguments}
        for call in told.calls
    ]
    if not body.get("stream"):
        complete = base | {"content": texts + calls, "usage": used | produced} | stop
        return await whole(told, complete)

    def event(kind, **more):
        return named_event(kind, {"type": kind} | more)

    async def events():
        begun = {"content": [], "stop_reason": None, "stop_sequence": None}
        begun["usage"] = used | {"output_tokens": 1}
        yield event("message_start", message=base | begun)
        yield event("ping")
        if texts:
            yield event(
                "content_block_start", index=0, content_block={"type": "text", "text": ""}
            )
            async for piece in paced(told):
                delta = {"type": "text_delta", "text": piece}
                yield event("content_block_delta", index=0, delta=delta)
            yield event("content_block_stop", index=0)
        if told.error:
            yield event("error", error={"type": "overloaded_error", "message": told.error})
            return
        for index, call in enumerate(calls, len(texts)):
            yield event("content_block_start", index=index, content_block=call | {"input": {}})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call["input"])}
            yield event("content_block_delta", index=index, delta=delta)
            yield event("content_block_stop", index=index)
        yield event("message_delta", delta=stop, usage=produced)
        yield event("message_stop")

    return server_sent_events(events())
