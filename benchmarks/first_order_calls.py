"""The calls of the rows as text: what the page shows is what runs."""

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Our call and the reference system's, on one line each."""

    ours: str = ""
    theirs: str = ""


def shown_calls(path: Path) -> list[Shown]:
    """The calls of each ``Row(...)`` of a file, in order."""
    source = path.read_text(encoding="utf-8")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Row":
            given = {keyword.arg: _text(source, keyword.value) for keyword in node.keywords}
            found.append((node.lineno, Shown(ours=given["call"], theirs=given.get("theirs", ""))))
    return [shown for _, shown in sorted(found, key=lambda pair: pair[0])]


def _text(source: str, node: ast.expr) -> str:
    """A lambda's body, a command after its prompt, or a string."""
    match node:
        case ast.Lambda(body=body):
            return re.sub(r"(?<![\w.])m\.", "", _one_line(source, body))
        case ast.Call(func=ast.Name(id="Command"), args=[ast.Constant(value=line)]):
            return f"$ secondorder {line}"
        case ast.Constant(value=str(text)):
            return text
    return ""


def _one_line(source: str, node: ast.expr) -> str:
    """An expression on one line, with its numbers as they are written."""
    written = iter(_numbers(ast.get_source_segment(source, node) or ""))
    plain = ast.unparse(node)
    for at, number in reversed(list(zip(_places(plain), written, strict=True))):
        plain = plain[: at[0]] + number + plain[at[1] :]
    return plain


def _numbers(text: str) -> list[str]:
    return [token.string for token in _tokens(text) if token.type == tokenize.NUMBER]


def _places(text: str) -> list[tuple[int, int]]:
    return [(token.start[1] - 1, token.end[1] - 1) for token in _tokens(text) if token.type == tokenize.NUMBER]


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(f"({text}\n)").readline))
