"""The README's commands run, and the demo prints what the README shows."""

import re
import shlex
from pathlib import Path

import pytest

from secondorder.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ secondorder (.*)$", README, re.MULTILINE)
SHOWN = re.findall(r"<!-- output: (.*?) -->", README)
"""Commands whose output the README shows: they run where it is compared."""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in SHOWN])
def test_a_command_of_the_readme_runs(command, capsys):
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out


def numbers_apart(text: str) -> tuple[str, list[float]]:
    """The words of a text and its numbers: another machine's last digit may round the other way."""
    pattern = r"[-+±]?\d[\d,]*\.?\d*"
    found = [float(n.lstrip("±").replace(",", "")) for n in re.findall(pattern, text)]
    return re.sub(r"\s+", " ", re.sub(pattern, "#", text)), found


def assert_alike(printed: str, shown: str) -> None:
    """The same words, and numbers within 2 %: the last digit of another machine may differ."""
    words, numbers = numbers_apart(printed.strip())
    expected_words, expected_numbers = numbers_apart(shown.strip())
    assert words == expected_words
    assert numbers == pytest.approx(expected_numbers, rel=0.02, abs=0.02)


def shown_after(mark: str, page: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\n(.*?)\n```", page, re.DOTALL)
    assert found is not None, mark
    return found[1]


def test_the_demo_prints_what_the_readme_shows_and_draws_its_picture(tmp_path, capsys):
    figure = tmp_path / "demo.png"
    assert main(["demo", "--figure", str(figure)]) == 0
    assert_alike(capsys.readouterr().out, shown_after("demo", README))
    assert figure.stat().st_size > 20_000


def test_the_story_of_the_demo_and_its_tables_tell_the_same():
    """The tables hold the values that the story prints, from the same run."""
    tables = shown_after("demo", (ROOT / "docs" / "demo.md").read_text(encoding="utf-8"))
    for line in shown_after("demo", README).splitlines()[5:11]:
        simulated = re.search(r"([\d.]+) ± ([\d.]+) (?:ms|s) ", line)
        assert simulated is not None, line
        assert f"{simulated[1]} ± {simulated[2]} " in tables


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_prints_what_the_readme_shows(command, capsys):
    assert main(shlex.split(command)) == 0
    assert_alike(capsys.readouterr().out, shown_after(f"output: {command}", README))
