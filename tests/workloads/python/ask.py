"""Asks a model with one of the published client libraries: ask.py LIBRARY URL MODE PROMPT…

LIBRARY is openai, openai-responses, openai-embeddings, anthropic or ollama; MODE has "stream" in it
for a stream, and "tools" to offer a tool. Prints for each prompt, as a line of JSON, what the
client knows itself: the text, the names of the tools that are called for, the usage, and of a
stream the milliseconds to its first piece with text, both from the call of the library to the piece
and, of that, from when the request began to be sent to when the bytes of the piece had arrived; or
the error. MODEL_NAME and MODEL_API_KEY are
taken from the environment.
"""

import json
import os
import sys
import time

MODEL = os.environ.get("MODEL_NAME", "scripted")
KEY = os.environ.get("MODEL_API_KEY", "of-the-tests")
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
DESCRIPTION = "Adds two numbers."
FUNCTION = {"name": "add", "description": DESCRIPTION, "parameters": PARAMETERS}


class Wire:
    """When the latest request left its library, and the latest bytes of an answer came in."""

    sent = arrived = 0.0

    @classmethod
    def trace(cls, event, _details):
        if event == "http11.send_request_headers.started":
            cls.sent = time.perf_counter()


def transport(httpx):
    """A transport that looks at the clock, for libraries that are built on `httpx` of this name."""

    class Arriving(httpx.SyncByteStream):
        def __init__(self, stream):
            self.stream = stream

        def __iter__(self):
            for piece in self.stream:
                Wire.arrived = time.perf_counter()
                yield piece

        def close(self):
            self.stream.close()

    class Transport(httpx.HTTPTransport):
        def handle_request(self, request):
            request.extensions["trace"] = Wire.trace
            answer = super().handle_request(request)
            answer.stream = Arriving(answer.stream)
            return answer

    return Transport()


class Told:
    """What the client knows of one answer."""

    def __init__(self):
        self.started = time.perf_counter()
        self.seen = {"text": "", "tools": []}

    def text(self, piece):
        self.seen["text"] += piece or ""

    def piece(self, piece):
        if piece and "first" not in self.seen:
            self.seen["first"] = (time.perf_counter() - self.started) * 1000
            # The libraries take no bytes before they have told what was in those before.
            self.seen["first_on_wire"] = (Wire.arrived - Wire.sent) * 1000
        self.text(piece)

    def usage(self, *tokens):
        """Of the prompt and, where there is one, of the answer."""
        self.seen["usage"] = tokens


def openai_client(url):
    import httpx
    import openai

    # No retries: the tests count requests.
    http_client = openai.DefaultHttpxClient(transport=transport(httpx))
    return openai.OpenAI(
        base_url=f"{url}/v1", api_key=KEY, max_retries=0, http_client=http_client
    )


def openai_chat(url, mode):
    client = openai_client(url)
    stream = "stream" in mode
    settings = {"model": MODEL, "temperature": 0.5, "max_tokens": 16}
    if stream:
        settings |= {"stream": True, "stream_options": {"include_usage": True}}
    if "tools" in mode:
        settings["tools"] = [{"type": "function", "function": FUNCTION}]

    def ask(prompt, told):
        messages = [{"role": "user", "content": prompt}]
        answer = client.chat.completions.create(messages=messages, **settings)
        for part in answer if stream else [answer]:
            for choice in part.choices:
                said = choice.delta if stream else choice.message
                (told.piece if stream else told.text)(said.content)
                calls = said.tool_calls or []
                told.seen["tools"] += [c.function.name for c in calls if c.function.name]
            if part.usage:
                told.usage(part.usage.prompt_tokens, part.usage.completion_tokens)

    return ask


def openai_responses(url, mode):
    client = openai_client(url)
    stream = "stream" in mode
    tools = [{"type": "function", **FUNCTION}] if "tools" in mode else []

    def ask(prompt, told):
        answer = client.responses.create(model=MODEL, input=prompt, stream=stream, tools=tools)
        if stream:
            for event in answer:
                if event.type == "response.output_text.delta":
                    told.piece(event.delta)
                if event.type in ("response.completed", "response.failed"):
                    answer = event.response
        else:
            told.text(answer.output_text)
        calls = [item for item in answer.output if item.type == "function_call"]
        told.seen["tools"] = [call.name for call in calls]
        if answer.error:
            told.seen["error"] = answer.error.code
        if answer.usage:
            told.usage(answer.usage.input_tokens, answer.usage.output_tokens)

    return ask


def openai_embeddings(url, _mode):
    client = openai_client(url)

    def ask(prompt, told):
        # Unless it is asked for numbers, the library asks for base64.
        answer = client.embeddings.create(model=MODEL, input=[prompt], encoding_format="float")
        told.usage(answer.usage.prompt_tokens)

    return ask


def anthropic_messages(url, mode):
    import anthropic
    import httpx2

    http_client = anthropic.DefaultHttpxClient(transport=transport(httpx2))
    client = anthropic.Anthropic(
        base_url=url, api_key=KEY, max_retries=0, http_client=http_client
    )
    settings = {"model": MODEL, "max_tokens": 16}
    if "tools" in mode:
        settings["tools"] = [{"name": "add", "description": DESCRIPTION, "input_schema": PARAMETERS}]

    def ask(prompt, told):
        messages = [{"role": "user", "content": prompt}]
        if "stream" in mode:
            with client.messages.stream(messages=messages, **settings) as events:
                for piece in events.text_stream:
                    told.piece(piece)
                answer = events.get_final_message()
        else:
            answer = client.messages.create(messages=messages, **settings)
            told.text("".join(block.text for block in answer.content if block.type == "text"))
        told.seen["tools"] = [block.name for block in answer.content if block.type == "tool_use"]
        told.usage(answer.usage.input_tokens, answer.usage.output_tokens)

    return ask


def ollama_chat(url, mode):
    import httpx
    import ollama

    client = ollama.Client(host=url, transport=transport(httpx))
    stream = "stream" in mode
    tools = [{"type": "function", "function": FUNCTION}] if "tools" in mode else []

    def ask(prompt, told):
        messages = [{"role": "user", "content": prompt}]
        answer = client.chat(model=MODEL, messages=messages, tools=tools, stream=stream)
        for part in answer if stream else [answer]:
            (told.piece if stream else told.text)(part.message.content)
            told.seen["tools"] += [call.function.name for call in part.message.tool_calls or []]
            if part.done:
                told.usage(part.prompt_eval_count, part.eval_count)

    return ask


LIBRARIES = {
    "openai": openai_chat,
    "openai-responses": openai_responses,
    "openai-embeddings": openai_embeddings,
    "anthropic": anthropic_messages,
    "ollama": ollama_chat,
}


def main(library, url, mode, *prompts):
    ask = LIBRARIES[library](url, mode)
    for prompt in prompts:
        told = Told()
        try:
            ask(prompt, told)
        except Exception as error:  # Whatever the library raises is what its user sees.
            told.seen["error"] = type(error).__name__
        print(json.dumps(told.seen), flush=True)


main(*sys.argv[1:])
