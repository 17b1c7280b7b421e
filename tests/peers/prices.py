"""Compares our price table with that of the installed package `litellm`, and prints where they differ.

    prices.py PRICES       the path of our price.yaml

Both are copied from the providers' pages by hand, and neither is right because the other says so: a difference is
printed for a human to look up. It fails only where nothing could be compared.
"""

import importlib.util
import json
import pathlib
import sys

import yaml

# Names of our rates and theirs; theirs are dollars per token, ours micro-dollars per million tokens.
NAMES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write_short": "cache_creation_input_token_cost",
    "cache_write_long": "cache_creation_input_token_cost_above_1hr",
}
# The long time to live is an hour at one provider and twelve at another.
LONG_ELSEWHERE = "cache_creation_input_token_cost_above_12hr"
PER_TOKEN = 1e12


def theirs():
    """Their table, read as data: the package is not imported."""
    folder = pathlib.Path(importlib.util.find_spec("litellm").origin).parent
    return json.loads((folder / "model_prices_and_context_window_backup.json").read_text(encoding="utf-8"))


def row_of(table, row):
    """Their entry of a model: under its name, or under its provider."""
    provider, model = row["provider"], row["model"]
    for name in (model, f"{provider}/{model}"):
        found = table.get(name)
        if found and found.get("litellm_provider") == provider:
            return found
    return None


def rates(entry, above=None):
    """Their rates in our names and units; a zero is their word for a kind of token that is not sold."""
    found = {}
    for ours, name in NAMES.items():
        names = [name, LONG_ELSEWHERE] if ours == "cache_write_long" else [name]
        for name in names:
            rate = entry.get(name if above is None else f"{name}_above_{above // 1000}k_tokens")
            if rate:
                found[ours] = round(rate * PER_TOKEN)
    return found


def differences(where, ours, other):
    """Lines for all rates that are not the same; a rate that only one of them has is named, too."""
    for name in NAMES:
        mine, its = ours.get(name), other.get(name)
        if mine != its:
            yield f"  {where}: {name} is {show(mine)} here, {show(its)} there"


def show(rate):
    return "not known" if rate is None else f"${rate / 1e6:g} a million"


def main(path):
    table, compared, found = theirs(), 0, []
    for row in yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))["models"]:
        name = f"{row['provider']}/{row['model']}"
        entry = row_of(table, row)
        if entry is None:
            found.append(f"  {name}: they do not have it")
            continue
        compared += 1
        found += differences(name, row["rates"], rates(entry))
        tiers = {tier["above_prompt_tokens"]: tier["rates"] for tier in row["rates"].get("tiers", [])}
        bounds = {bound * 1000 for bound in (100, 128, 200, 256, 272, 512) if f"input_cost_per_token_above_{bound}k_tokens" in entry}
        for bound in sorted(set(tiers) | bounds):
            found += differences(f"{name} above {bound} tokens", tiers.get(bound, {}), rates(entry, bound))
        minimum, its = row.get("min_cache_tokens"), entry.get("prompt_cache_min_tokens")
        if its is not None and minimum != its:
            found.append(f"  {name}: nothing is cached below {minimum} tokens here, {its} there")
    if compared == 0:
        sys.exit("none of our models is in the price table of litellm: nothing was compared")
    print(f"{compared} models are priced by us and by litellm; {len(found)} differences" + (":" if found else ""))
    print("\n".join(found))


if __name__ == "__main__":
    main(sys.argv[1])
