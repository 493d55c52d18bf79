"""Print docs/house.md: every file of the package with what it is for, by folder.

python docs/make_house.py > docs/house.md
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "secondorder"
HEAD = """\
# The house, file by file

The first sentence of every module, printed by `python docs/make_house.py > docs/house.md`. How the rooms stand to each
other, and a recipe for each kind of addition, are in CONTRIBUTING.
"""


def page() -> str:
    """The whole page."""
    return "".join([HEAD, *(_room(folder) for folder in _rooms())])


def _rooms() -> Iterator[Path]:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    return iter(sorted(folders, key=lambda folder: folder.relative_to(ROOT).parts))


def _room(folder: Path) -> str:
    name = "/".join(("secondorder", *folder.relative_to(ROOT).parts))
    files = sorted(folder.glob("*.py"))
    told = next((said(path) for path in files if path.name == "__init__.py"), "")
    rows = [f"- `{path.name}`: {said(path)}\n" for path in files if path.name != "__init__.py" or path.parent == ROOT]
    return "".join([f"\n## `{name}/`\n\n", f"{told}\n\n" if told else "", *rows])


def said(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".") + "." if first else ""


if __name__ == "__main__":
    print(page(), end="")
