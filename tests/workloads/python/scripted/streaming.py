"""Streams that pause, wait and break off as the script says."""

import asyncio

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
            print("holding", flush=True)
            await asyncio.Event().wait()


def server_sent_events(events):
    return StreamingResponse(events, media_type="text/event-stream")


def json_lines(lines):
    return StreamingResponse(lines, media_type="application/x-ndjson")
