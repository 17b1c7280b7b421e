"""The official SDKs as clients of the scripted model, on all wires.

    clients.py URL           a server of clients.yaml; every event and every object that it sends is validated
"""

import json
import sys

import anthropic
import httpx2 as httpx
import openai

import strict

URL = sys.argv[1]
TOOLS = [
    {"name": name, "description": "d", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
    for name in ("Read", "Grep")
]
BRIEF = "The brief that all share. " * 400


def raw_events(path, body, headers):
    """The data of every event of a stream, as it comes over the wire."""
    with httpx.stream("POST", URL + path, json=body, headers=headers, timeout=30) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line[6:])


def messages():
    """/v1/messages: stream, create, count, parallel tools, thinking that is echoed, errors."""
    client = anthropic.Anthropic(base_url=URL, api_key="k", max_retries=0)
    mark = {"type": "ephemeral"}
    first = {"role": "user", "content": [{"type": "text", "text": BRIEF, "cache_control": mark}, {"type": "text", "text": "Go."}]}
    common = {"model": "claude-opus-5-5", "max_tokens": 1000, "tools": TOOLS, "system": "s"}
    assert client.messages.count_tokens(model="claude-opus-5-5", messages=[first], tools=TOOLS).input_tokens > 2000
    with client.messages.stream(messages=[first], **common) as stream:
        reply = stream.get_final_message()
    kinds = [block.type for block in reply.content]
    assert kinds == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"], kinds
    assert reply.stop_reason == "tool_use" and reply.content[3].input == {"path": "a"}
    assert reply.usage.cache_creation_input_tokens > 2000 and not reply.usage.cache_read_input_tokens
    calls = [block for block in reply.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "found"} for call in calls]
    turns = [first, {"role": "assistant", "content": reply.content}, {"role": "user", "content": results}]
    whole = client.messages.create(messages=turns, **common)
    assert whole.content[0].text == "Done." and whole.usage.cache_read_input_tokens > 2000, whole.usage
    changed = [{"role": "user", "content": "Another beginning."}, *turns[1:]]
    try:
        client.messages.create(messages=changed, **common)
        raise AssertionError("a thinking block out of its place was taken")
    except anthropic.BadRequestError as error:
        assert "different conversation" in error.message, error.message
    for model, kind in [("busy", anthropic.RateLimitError), ("full", anthropic.InternalServerError)]:
        try:
            client.messages.create(model=model, max_tokens=10, messages=[{"role": "user", "content": "x"}])
            raise AssertionError(f"{model} answered")
        except kind as error:
            assert error.request_id.startswith("req_") and error.response.headers.get("retry-after") == "7"


def messages_strict(types):
    """Every event of /v1/messages by the strict types."""
    headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
    body = {"model": "claude-opus-5-5", "max_tokens": 1000, "stream": True, "tools": TOOLS, "messages": [{"role": "user", "content": "Go."}]}
    count = 0
    for model in ("claude-opus-5-5", "refuses"):
        for event in raw_events("/v1/messages", {**body, "model": model}, headers):
            if event["type"] != "ping":
                types.event.validate_python(event)
                count += 1
        whole = httpx.post(URL + "/v1/messages", json={**body, "model": model, "stream": False}, headers=headers)
        types.message.validate_python(whole.json())
    return count


def chat():
    """/v1/chat/completions: stream, create, parallel tools, errors."""
    client = openai.OpenAI(base_url=URL + "/v1", api_key="k", max_retries=0)
    tools = [{"type": "function", "function": {"name": t["name"], "parameters": t["input_schema"]}} for t in TOOLS]
    part = {"type": "text", "text": BRIEF, "prompt_cache_breakpoint": {"mode": "explicit"}}
    first = [{"role": "system", "content": [part]}, {"role": "user", "content": "Go."}]
    with client.chat.completions.stream(model="gpt-6-sol", messages=first, tools=tools, stream_options={"include_usage": True}) as stream:
        reply = stream.get_final_completion()
    message = reply.choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["Read", "Grep"], message
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.usage.prompt_tokens_details.cache_write_tokens > 2000, reply.usage
    calls = [{"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}} for c in message.tool_calls]
    turns = [*first, {"role": "assistant", "content": message.content, "tool_calls": calls}]
    turns += [{"role": "tool", "tool_call_id": call["id"], "content": "found"} for call in calls]
    whole = client.chat.completions.create(model="gpt-6-sol", messages=turns, tools=tools)
    assert whole.choices[0].message.content == "Done." and whole.usage.prompt_tokens_details.cached_tokens > 2000
    try:
        client.chat.completions.create(model="gpt-6-sol", messages=turns[:-1], tools=tools)
        raise AssertionError("an unanswered call was taken")
    except openai.BadRequestError as error:
        assert "tool_call_id" in error.message
    try:
        client.chat.completions.create(model="busy", messages=[{"role": "user", "content": "x"}])
        raise AssertionError("busy answered")
    except openai.RateLimitError as error:
        assert error.code == "rate_limit_exceeded" and error.request_id.startswith("req_")


def chat_strict(types):
    """Every chunk of /v1/chat/completions by the strict types."""
    headers = {"authorization": "Bearer k"}
    body = {"model": "gpt-6-sol", "stream": True, "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": "Go."}]}
    count = 0
    for chunk in raw_events("/v1/chat/completions", body, headers):
        # Thinking comes in a field that is not the vendor's own: it is what other servers send.
        for choice in chunk["choices"]:
            choice["delta"].pop("reasoning_content", None)
        types.chunk.validate_python(chunk)
        count += 1
    del body["stream"], body["stream_options"]
    whole = httpx.post(URL + "/v1/chat/completions", json=body, headers=headers).json()
    whole["choices"][0]["message"].pop("reasoning_content", None)
    types.completion.validate_python(whole)
    return count


def responses():
    """/v1/responses: stream, create, reasoning that is echoed, parallel tools, errors."""
    client = openai.OpenAI(base_url=URL + "/v1", api_key="k", max_retries=0)
    tools = [{"type": "function", "name": t["name"], "parameters": t["input_schema"], "strict": False} for t in TOOLS]
    part = {"type": "input_text", "text": BRIEF, "prompt_cache_breakpoint": {"mode": "explicit"}}
    first = [{"role": "developer", "content": [part]}, {"role": "user", "content": "Go."}]
    common = {"model": "gpt-6-sol", "tools": tools, "store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": "auto"}}
    with client.responses.stream(input=first, **common) as stream:
        reply = stream.get_final_response()
    assert [item.type for item in reply.output] == ["reasoning", "message", "function_call", "function_call"], reply.output
    assert reply.usage.input_tokens_details.cache_write_tokens > 2000
    items = [item.model_dump(exclude_none=True) for item in reply.output]
    for item in items:
        item.pop("parsed_arguments", None)
        for content in item.get("content", []):
            content.pop("parsed", None)
    outputs = [{"type": "function_call_output", "call_id": i["call_id"], "output": "found"} for i in items if i["type"] == "function_call"]
    whole = client.responses.create(input=[*first, *items, *outputs], **common)
    assert whole.output_text == "Done." and whole.usage.input_tokens_details.cached_tokens > 2000, whole.usage
    try:
        client.responses.create(input=[*first, *items, *outputs[:1]], **common)
        raise AssertionError("an unanswered call was taken")
    except openai.BadRequestError as error:
        assert "No tool output found" in error.message, error.message


def responses_strict(types):
    """Every event of /v1/responses by the strict types."""
    headers = {"authorization": "Bearer k"}
    body = {"model": "gpt-6-sol", "stream": True, "input": "Go.", "reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    count = 0
    for model in ("gpt-6-sol", "refuses", "fails"):
        for event in raw_events("/v1/responses", {**body, "model": model}, headers):
            types.event.validate_python(event)
            count += 1
    whole = httpx.post(URL + "/v1/responses", json={**body, "stream": False}, headers=headers)
    types.response.validate_python(whole.json())
    return count


if __name__ == "__main__":
    # First as they are, then closed: closing the types changes how the SDKs themselves read answers.
    messages()
    chat()
    responses()
    print("anthropic", anthropic.__version__, "and openai", openai.__version__, "are served on all wires")
    counts = [messages_strict(strict.Anthropic())]
    types = strict.OpenAI()
    counts += [chat_strict(types), responses_strict(types)]
    assert all(counts)
    print(f"{sum(counts)} events are valid by the strict types: {counts[0]} messages, {counts[1]} chat, {counts[2]} responses")
