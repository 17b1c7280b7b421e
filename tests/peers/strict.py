"""The types of the official SDKs, made strict: a field that they do not know is an error.

The SDKs describe requests as TypedDicts and answers as pydantic models, and accept more than they list. Both
are closed here before any validator is built.
"""

import importlib
import pkgutil

import pydantic
import typing_extensions

STRICT = {"extra": "forbid", "arbitrary_types_allowed": True}


def close(package):
    """Closes every type of a package; gives how many there were."""
    root = importlib.import_module(package)
    modules = [root]
    for found in pkgutil.walk_packages(root.__path__, package + "."):
        if ".beta" not in found.name:
            modules.append(importlib.import_module(found.name))
    dicts, models = set(), []
    for module in modules:
        for value in vars(module).values():
            if typing_extensions.is_typeddict(value) and value.__module__.startswith(package):
                value.__pydantic_config__ = STRICT
                dicts.add(value)
            elif isinstance(value, type) and issubclass(value, pydantic.BaseModel) and value.__module__.startswith(package):
                if value not in models:
                    value.model_config["extra"] = "forbid"
                    models.append(value)
    # Twice: a model that holds another one takes over its schema.
    for _ in range(2):
        for model in models:
            model.model_rebuild(force=True)
    return len(dicts) + len(models)


def whole(adapter, value):
    """Validates a value to its last part: what the types call iterable is looked at only when it is walked."""

    def walk(part):
        if isinstance(part, dict):
            part = part.values()
        elif isinstance(part, (str, bytes, pydantic.BaseModel)) or not hasattr(part, "__iter__"):
            return
        for inner in part:
            walk(inner)

    walk(adapter.validate_python(value))


class Anthropic:
    """Validators of /v1/messages."""

    def __init__(self):
        self.closed = close("anthropic.types")
        from anthropic.types import (
            ContentBlockParam,
            Message,
            MessageCountTokensParams,
            RawMessageStreamEvent,
        )
        from anthropic.types.message_create_params import (
            MessageCreateParamsNonStreaming,
            MessageCreateParamsStreaming,
        )

        self.streaming = pydantic.TypeAdapter(MessageCreateParamsStreaming)
        self.plain = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)
        self.counting = pydantic.TypeAdapter(MessageCountTokensParams)
        self.block = pydantic.TypeAdapter(ContentBlockParam)
        self.event = pydantic.TypeAdapter(RawMessageStreamEvent)
        self.message = pydantic.TypeAdapter(Message)

    def body(self, body, counting=False):
        """A request body; the content of messages is checked block by block, because its union is lax."""
        kind = self.counting if counting else self.streaming if body.get("stream") else self.plain
        whole(kind, body)
        for message in body["messages"]:
            if not isinstance(message["content"], str):
                for block in message["content"]:
                    whole(self.block, block)


class OpenAI:
    """Validators of /v1/chat/completions and /v1/responses."""

    def __init__(self):
        self.closed = close("openai.types")
        from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam
        from openai.types.chat.completion_create_params import (
            CompletionCreateParamsNonStreaming,
            CompletionCreateParamsStreaming,
        )
        from openai.types.responses import Response, ResponseInputItemParam, ResponseStreamEvent
        from openai.types.responses.response_create_params import (
            ResponseCreateParamsNonStreaming,
            ResponseCreateParamsStreaming,
        )

        adapter = pydantic.TypeAdapter
        self.chat = (adapter(CompletionCreateParamsStreaming), adapter(CompletionCreateParamsNonStreaming))
        self.chat_message = adapter(ChatCompletionMessageParam)
        self.responses = (adapter(ResponseCreateParamsStreaming), adapter(ResponseCreateParamsNonStreaming))
        self.item = adapter(ResponseInputItemParam)
        self.chunk = adapter(ChatCompletionChunk)
        self.completion = adapter(ChatCompletion)
        self.event = adapter(ResponseStreamEvent)
        self.response = adapter(Response)

    def chat_body(self, body):
        """A request for a completion, message by message."""
        whole(self.chat[0 if body.get("stream") else 1], body)
        for message in body["messages"]:
            whole(self.chat_message, message)

    def responses_body(self, body):
        """A request for a response, item by item."""
        whole(self.responses[0 if body.get("stream") else 1], body)
        if not isinstance(body["input"], str):
            for item in body["input"]:
                whole(self.item, item)


def refuses(validate, value, what):
    """Fails unless a validator refuses a value."""
    try:
        validate(value)
    except pydantic.ValidationError:
        return
    raise AssertionError(f"the strict types take {what}")


def bites():
    """The strict types refuse what they have to; otherwise nothing that they take is shown to be right."""
    types = Anthropic()
    mark = {"type": "ephemeral"}
    text = {"type": "text", "text": "x"}

    def body(**more):
        user = {"role": "user", "content": [text]}
        return {"model": "m", "max_tokens": 1, "stream": True, "messages": [user], **more}

    types.body(body())
    for more, what in [
        ({"temperature": 1.0}, "a temperature"),
        ({"frobnicate": 1}, "an unknown field"),
        ({"system": [{**text, "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}, "a wrong ttl"),
        ({"tools": [{"name": "n", "input_schema": {"type": "object"}, "x": 1}]}, "an unknown field of a tool"),
    ]:
        refuses(types.body, body(**more), what)
    for block, what in [
        ({"type": "thinking", "thinking": "", "signature": "s", "cache_control": mark}, "a mark on thinking"),
        ({"type": "tool_use", "name": "n", "input": {}}, "a call with no id"),
        ({"type": "tool_result", "tool_use_id": "1", "content": "x", "of_tomorrow": 1}, "an unknown field of a block"),
    ]:
        refuses(types.body, body(messages=[{"role": "user", "content": [block]}]), what)
    refuses(types.event.validate_python, {"type": "message_stop", "x": 1}, "an unknown field of an event")
    openai = OpenAI()
    chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    openai.chat_body(chat)
    refuses(openai.chat_body, {**chat, "cache_control": mark}, "an unknown field of a completion")
    refuses(openai.chat_body, {**chat, "messages": [{"role": "tool", "content": "x"}]}, "a result of no call")
    openai.responses_body({"model": "m", "input": "x"})
    refuses(openai.responses_body, {"model": "m", "input": "x", "messages": []}, "an unknown field of a response")
    call = {"type": "function_call", "name": "n", "arguments": "{}"}
    refuses(openai.responses_body, {"model": "m", "input": [call]}, "a call with no id")


if __name__ == "__main__":
    bites()
    print("the strict types refuse what is wrong")
