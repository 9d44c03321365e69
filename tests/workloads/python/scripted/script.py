"""What the scripted model answers.

A prompt that is a JSON list is a script: each item is one answer, in turn. Which turn it is, is told
by the answers that the conversation holds after the prompt, so the model keeps no state, and the
prompt of a delegated task is a script again. An item has some of

    "say": "words"            the text, one word a piece where it is streamed
    "think": "words"          reasoning before the text
    "call": {"tool": {…}, …}  tool calls with their arguments: native ones where the request offers
                              tools, else a fenced block
    "delegate": {"peer": …}   delegations with their tasks, likewise; a list becomes a script
    "status": 429             an HTTP error in place of an answer
    "cut": 2                  the connection is closed after so many pieces; what is not streamed is
                              cut in the middle
    "error": "message"        an error event after the pieces, in place of the end of a stream
    "times": 2                only so often one of these three, and then without
    "pause": 0.05             seconds before each piece
    "hold": true              waits after the first piece (what is not streamed, before anything),
                              until the caller is gone
    "usage": {"prompt": 9, "completion": 4, "cached": 2, "reasoning": 1}   in place of counted words

When a script has no more items, the answer is "done". A prompt that is no script is answered with
its words reversed, and with HTTP 500 where it holds "fail".
"""

import json
from collections import Counter
from dataclasses import dataclass, field

DELEGATION_TOOL_PREFIX = "delegate_to_"


@dataclass
class Message:
    """A message of a conversation, whichever API it came by."""

    role: str
    text: str


@dataclass
class Call:
    """A tool call."""

    ident: str
    name: str
    arguments: dict


@dataclass
class Usage:
    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


@dataclass
class Answer:
    text: str
    usage: Usage
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    status: int = 200
    pause: float = 0
    cut: int | None = None
    error: str | None = None
    hold: bool = False

    def pieces(self):
        """The text as it is streamed."""
        return [word + " " for word in self.text.split()]


ERRORS = ("status", "cut", "error")
errors_given: Counter[str] = Counter()


def answer(messages: list[Message], offers_tools: bool) -> Answer:
    for position in reversed(range(len(messages))):
        script = parse(messages[position])
        if script is not None:
            break
    else:
        return plain(messages)
    turn = sum(message.role == "assistant" for message in messages[position:])
    item = script[turn] if turn < len(script) else {"say": "done"}
    occasion = f"{turn} {messages[position].text}"
    errors_given[occasion] += 1
    if errors_given[occasion] > item.get("times", errors_given[occasion]):
        item = {name: value for name, value in item.items() if name not in ERRORS}
    calls = [
        Call(f"call_{turn}_{number}", name, arguments)
        for number, (name, arguments) in enumerate(wanted(item))
    ]
    text = item.get("say", "")
    if calls and not offers_tools:
        text, calls = " ".join([text, *map(fenced, calls)]).strip(), []
    return Answer(
        text=text,
        usage=Usage(**item["usage"]) if "usage" in item else count(messages, text, len(calls)),
        reasoning=item.get("think", ""),
        calls=calls,
        status=item.get("status", 200),
        pause=item.get("pause", 0),
        cut=item.get("cut"),
        error=item.get("error"),
        hold=item.get("hold", False),
    )


def parse(message: Message) -> list | None:
    if message.role != "user" or not message.text.startswith("["):
        return None
    try:
        return json.loads(message.text)
    except json.JSONDecodeError:
        return None


def plain(messages: list[Message]) -> Answer:
    text = " ".join(reversed(messages[-1].text.split()))
    status = 500 if "fail" in text else 200
    return Answer(text=text, usage=count(messages[-1:], text), status=status)


def wanted(item: dict):
    """Name and arguments of each tool call of an item, delegations as the tools that they are."""
    yield from item.get("call", {}).items()
    for peer, task in item.get("delegate", {}).items():
        task = task if isinstance(task, str) else json.dumps(task)
        yield DELEGATION_TOOL_PREFIX + peer, {"task": task}


def fenced(call: Call) -> str:
    """The call as agents without native tool calls expect it."""
    if call.name.startswith(DELEGATION_TOOL_PREFIX):
        peer = call.name.removeprefix(DELEGATION_TOOL_PREFIX)
        return f"```delegate\n{json.dumps({'agent': peer} | call.arguments)}\n```"
    block = {"tool": call.name, "arguments": call.arguments}
    return f"```tool_call\n{json.dumps(block)}\n```"


def count(messages: list[Message], text: str, calls: int = 0) -> Usage:
    """A token for each word and each call."""
    prompt = sum(len(message.text.split()) for message in messages)
    return Usage(prompt, len(text.split()) + calls)
