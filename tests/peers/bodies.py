"""Validates every request body of a journal of the scripted model against the strict types of the SDKs.

    bodies.py JOURNAL…       ends with 1 at the first body that they refuse; says how many there were
"""

import collections
import json
import sys

import strict


def check(paths):
    """Validates them and gives their numbers by path of the request."""
    anthropic, openai, counts = None, None, collections.Counter()
    for path in paths:
        for line in open(path, encoding="utf-8"):
            record = json.loads(line)
            body, where = json.loads(record["body"]), record["path"]
            if where.startswith("/v1/messages"):
                anthropic = anthropic or strict.Anthropic()
                anthropic.body(body, counting=where.endswith("/count_tokens"))
            else:
                openai = openai or strict.OpenAI()
                (openai.chat_body if where.endswith("/completions") else openai.responses_body)(body)
            counts[where] += 1
    return counts


if __name__ == "__main__":
    counts = check(sys.argv[1:])
    if not counts:
        sys.exit("no request in the journal: nothing was shown")
    for where, count in sorted(counts.items()):
        print(f"{count} bodies of {where} are valid by the strict types")
