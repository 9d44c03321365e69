"""OpenAI's API: chat completions, completions, embeddings, responses."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from scripted.script import Answer, Message, Usage, answer
from scripted.streaming import paced, server_sent_events, whole

router = APIRouter(prefix="/v1")


@router.post("/chat/completions")
async def chat(request: Request):
    body = await request.json()
    messages = [Message(m["role"], text_of(m.get("content"))) for m in body["messages"]]
    told = answer(messages, offers_tools="tools" in body)
    if told.status != 200:
        return failure(told.status)
    base = {"id": "chatcmpl-scripted", "created": 1, "model": body["model"]}
    finish = "tool_calls" if told.calls else "stop"
    if body.get("stream"):
        with_usage = (body.get("stream_options") or {}).get("include_usage")
        return server_sent_events(chat_events(told, base, finish, with_usage))
    message = {"role": "assistant", "content": told.text or None}
    if told.reasoning:
        message["reasoning_content"] = told.reasoning
    if told.calls:
        message["tool_calls"] = [function_call(call) for call in told.calls]
    choice = {"index": 0, "message": message, "finish_reason": finish}
    answered = {"object": "chat.completion", "choices": [choice], "usage": usage(told.usage)}
    return await whole(told, base | answered)


async def chat_events(told: Answer, base: dict, finish: str, with_usage: bool):
    def event(delta=None, finish_reason=None, **more):
        choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
        chunk = base | {"object": "chat.completion.chunk"} | more
        return data(chunk | {"choices": choices if delta is not None else []})

    yield event({"role": "assistant", "content": ""})
    if told.reasoning:
        yield event({"reasoning_content": told.reasoning})
    async for piece in paced(told):
        yield event({"content": piece})
    if told.error:
        yield data({"error": {"message": told.error, "type": "server_error"}})
        return
    for index, call in enumerate(told.calls):
        whole = function_call(call) | {"index": index}
        arguments = whole["function"]["arguments"]
        start = whole | {"function": {"name": call.name, "arguments": ""}}
        yield event({"tool_calls": [start]})
        for part in (arguments[:4], arguments[4:]):
            yield event({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield event({}, finish)
    if with_usage:
        yield event(usage=usage(told.usage))
    yield "data: [DONE]\n\n"


@router.post("/completions")
async def completions(request: Request):
    body = await request.json()
    told = answer([Message("user", body["prompt"])], offers_tools=False)
    if told.status != 200:
        return failure(told.status)
    base = {"id": "cmpl-scripted", "object": "text_completion", "created": 1, "model": body["model"]}

    def choices(text, finish_reason):
        return {"choices": [{"index": 0, "text": text, "finish_reason": finish_reason}]}

    if not body.get("stream"):
        counted = {"usage": usage(told.usage)}
        return await whole(told, base | choices(told.text, "stop") | counted)

    async def events():
        async for piece in paced(told):
            yield data(base | choices(piece, None))
        yield data(base | choices("", "stop"))
        yield "data: [DONE]\n\n"

    return server_sent_events(events())


@router.post("/embeddings")
async def embeddings(request: Request):
    body = await request.json()
    inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors = [
        {"object": "embedding", "index": index, "embedding": [0.25, -0.5, 1.0]}
        for index in range(len(inputs))
    ]
    tokens = sum(len(str(text).split()) for text in inputs)
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": vectors, "model": body["model"], "usage": counted}


@router.post("/responses")
async def responses(request: Request):
    body = await request.json()
    given = body["input"]
    given = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = [Message(m["role"], text_of(m["content"])) for m in given if "role" in m]
    told = answer(messages, offers_tools="tools" in body)
    if told.status != 200:
        return failure(told.status)
    counted = {
        "input_tokens": told.usage.prompt,
        "input_tokens_details": {"cached_tokens": told.usage.cached},
        "output_tokens": told.usage.completion,
        "output_tokens_details": {"reasoning_tokens": told.usage.reasoning},
        "total_tokens": told.usage.prompt + told.usage.completion,
    }
    base = {"id": "resp_scripted", "object": "response", "created_at": 1, "model": body["model"]}
    base |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    text = {"type": "output_text", "text": told.text, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    output = [message | {"content": [text]}] if told.text else []
    output += [
        {
            "type": "function_call",
            "id": f"fc_{call.ident}",
            "call_id": call.ident,
            "name": call.name,
            "arguments": json.dumps(call.arguments),
            "status": "completed",
        }
        for call in told.calls
    ]
    complete = base | {"status": "completed", "output": output, "usage": counted}
    if not body.get("stream"):
        return await whole(told, complete)

    async def events():
        number = 0

        def event(kind, **more):
            nonlocal number
            number += 1
            return named_event(kind, {"type": kind, "sequence_number": number - 1} | more)

        begun = base | {"status": "in_progress", "output": [], "usage": None}
        yield event("response.created", response=begun)
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        async for piece in paced(told):
            yield event("response.output_text.delta", delta=piece, logprobs=[], **place)
        if told.error:
            failed = base | {"status": "failed", "output": [], "usage": None}
            failed["error"] = {"code": "server_error", "message": told.error}
            yield event("response.failed", response=failed)
            return
        for index, item in enumerate(output):
            yield event("response.output_item.done", output_index=index, item=item)
        yield event("response.completed", response=complete)

    return server_sent_events(events())


def failure(status: int):
    kind = "rate_limit_exceeded" if status == 429 else "server_error"
    error = {"message": f"the script says {status}", "type": kind, "code": kind}
    return JSONResponse({"error": error}, status_code=status)


def text_of(content) -> str:
    """The text of a content, which is a string, a list of parts, or nothing."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def function_call(call) -> dict:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.ident, "type": "function", "function": function}


def usage(counted: Usage) -> dict:
    told = {
        "prompt_tokens": counted.prompt,
        "completion_tokens": counted.completion,
        "total_tokens": counted.prompt + counted.completion,
    }
    if counted.cached:
        told["prompt_tokens_details"] = {"cached_tokens": counted.cached}
    if counted.reasoning:
        told["completion_tokens_details"] = {"reasoning_tokens": counted.reasoning}
    return told


def data(value: dict) -> str:
    return f"data: {json.dumps(value)}\n\n"


def named_event(name: str, value: dict) -> str:
    return f"event: {name}\n{data(value)}"
