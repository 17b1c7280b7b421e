"""The lines of `run --output-format stream-json`, read by the parser of the official agent SDK.

    stream.py FILE           what a run of agents has printed
"""

import json
import sys
from collections import Counter

from claude_agent_sdk._internal.message_parser import parse_message
from claude_agent_sdk.types import AssistantMessage, ResultMessage, SystemMessage, ToolResultBlock, ToolUseBlock, UserMessage

lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
messages = [parse_message(line) for line in lines]
kinds = Counter(type(message).__name__ for message in messages)
assert all(message is not None for message in messages), kinds
first, last = messages[0], messages[-1]
assert isinstance(first, SystemMessage) and first.subtype == "init", first
assert isinstance(last, ResultMessage) and not last.is_error and last.subtype == "success", last
assert kinds["ResultMessage"] == 1, kinds
said = [message for message in messages if isinstance(message, AssistantMessage)]
heard = [message for message in messages if isinstance(message, UserMessage)]
calls = [block.id for message in said for block in message.content if isinstance(block, ToolUseBlock)]
results = [block.tool_use_id for message in heard for block in message.content if isinstance(block, ToolResultBlock)]
assert calls and sorted(calls) == sorted(results), (calls, results)
assert last.num_turns == len(said) and last.usage["output_tokens"] > 0, last
started = {message.tool_use_id for message in messages if type(message).__name__ == "TaskStartedMessage"}
assert {message.parent_tool_use_id for message in said} <= started, started
print(f"stream-json: {len(lines)} lines, {dict(kinds)}")
