"""Streams that pause, wait and break off as the script says."""

import asyncio
import json

from fastapi.responses import StreamingResponse

from scripted.script import Answer


class Cut(Exception):
    """Breaks a response off: the server closes the connection without its end marker."""


async def paced(answer: Answer):
    """The pieces of the text, at the script's pace."""
    for number, piece in enumerate(answer.pieces()):
        if number == answer.cut:
            raise Cut
        await asyncio.sleep(answer.pause)
        yield piece
        if answer.hold:
            await hold(answer)


async def hold(answer: Answer):
    """Says that it waits, and does so until the caller is gone."""
    print("holding", answer.text, flush=True)
    await asyncio.Event().wait()


async def whole(answer: Answer, body: dict):
    """What is not streamed."""
    if answer.hold:
        await hold(answer)
    if answer.cut is None:
        return body
    text = json.dumps(body)

    async def half():
        yield text[: len(text) // 2]
        raise Cut

    return StreamingResponse(half(), media_type="application/json")


def server_sent_events(events):
    return StreamingResponse(events, media_type="text/event-stream")


def json_lines(lines):
    return StreamingResponse(lines, media_type="application/x-ndjson")
