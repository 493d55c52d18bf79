"""The README's commands run, and the demo prints what the README shows."""

import re
import shlex
from pathlib import Path

import pytest

from secondorder.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ secondorder (.*)$", README, re.MULTILINE)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, capsys):
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out


def numbers_apart(text: str) -> tuple[str, list[float]]:
    """The words of a text and its numbers: another machine's last digit may round the other way."""
    pattern = r"[-+±]?\d[\d,]*\.?\d*"
    found = [float(n.lstrip("±").replace(",", "")) for n in re.findall(pattern, text)]
    return re.sub(r"\s+", " ", re.sub(pattern, "#", text)), found


def test_the_demo_prints_what_the_readme_shows_and_draws_its_picture(tmp_path, capsys):
    figure = tmp_path / "demo.png"
    assert main(["demo", "--figure", str(figure)]) == 0
    words, numbers = numbers_apart(capsys.readouterr().out.strip())
    shown = re.search(r"<!-- demo -->\n```\n(.*?)\n```", README, re.DOTALL)
    assert shown is not None
    expected_words, expected_numbers = numbers_apart(shown[1].strip())
    assert words == expected_words
    assert numbers == pytest.approx(expected_numbers, rel=0.02, abs=0.02)
    assert figure.stat().st_size > 20_000
