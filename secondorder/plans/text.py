"""A value as a flag or a list of values spells it: what TOML or JSON would write without quotes."""

import json
import re
import tomllib
from collections.abc import Sequence


def plain_value(text: str) -> object:
    """A number, a truth value, a list or a table as TOML or JSON writes it, a number also as ``.5``; else the text.

    >>> plain_value("3"), plain_value(".5"), plain_value("3 h"), plain_value('{ a = "b" }'), plain_value('{"3": 1.2}')
    (3, 0.5, '3 h', {'a': 'b'}, {'3': 1.2})
    """
    if re.fullmatch(r"[-+]?(\.\d+|\d+\.)([eE][-+]?\d+)?", text.strip()):
        return float(text)
    try:
        found: object = tomllib.loads(f"value = {text}")["value"]
        return found
    except (tomllib.TOMLDecodeError, RecursionError):
        pass
    try:
        return json.loads(text) if text.lstrip().startswith("{") else text
    except (ValueError, RecursionError):
        return text


def listed(names: Sequence[str]) -> str:
    """Names with commas and an "and".

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
