"""The types of the official SDKs, made strict: a field that they do not know is an error.

The SDKs describe requests as TypedDicts and answers as pydantic models, and accept more than they list. Both
are closed here before any validator is built.
"""

import importlib
import pkgutil
import typing

import pydantic

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
            if typing.is_typeddict(value) and value.__module__.startswith(package):
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
        kind.validate_python(body)
        for message in body["messages"]:
            if not isinstance(message["content"], str):
                for block in message["content"]:
                    self.block.validate_python(block)


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
        self.chat[0 if body.get("stream") else 1].validate_python(body)
        for message in body["messages"]:
            self.chat_message.validate_python(message)

    def responses_body(self, body):
        """A request for a response, item by item."""
        self.responses[0 if body.get("stream") else 1].validate_python(body)
        if not isinstance(body["input"], str):
            for item in body["input"]:
                self.item.validate_python(item)
