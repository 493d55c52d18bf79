"""Claims about the documentation: examples and commands run, tables are what is printed, every public name is there."""

import doctest
import re
import runpy
import shlex
import sys
from importlib import import_module
from pathlib import Path

import first_order as suite
import pytest
from first_order_row import Command

import secondorder as so
from secondorder.answers.estimate import Estimate
from secondorder.cli import main
from secondorder.errors import SecondOrderError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
COMMAND = re.compile(r"^\$ secondorder (.*?)(?:  # exit code (\d))?$", re.MULTILINE)
FILE = re.compile(r"```toml\n(# (\S+\.toml)\n.*?)```", re.DOTALL)
COMMANDS = [
    pytest.param(page, line, int(code or 0), id=f"{page.stem}: {line[:40]}")
    for page in PAGES
    for line, code in COMMAND.findall(page.read_text(encoding="utf-8"))
]
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


# Pages


def test_the_map_names_every_page_and_no_link_leads_nowhere():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w.]+\.md)\)", index)) == {page.name for page in PAGES} - {"index.md"}
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / link).exists(), f"{page.name}: {link}"


WITHOUT_EXAMPLES = (
    "accuracy",
    "predictions",
    "coverage",
    "first_order",
    "house",
    "reference",
    "service_accuracy",
    "speed",
    "stragglers",
)
"""Pages that scripts and benches print, and one that needs a recorded trace."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=options, encoding="utf-8")
    assert failed == 0
    assert tried or page.stem in WITHOUT_EXAMPLES


def test_a_wrong_example_would_be_seen(tmp_path):
    wrong = tmp_path / "wrong.md"
    wrong.write_text("```python\n>>> 1 + 1\n3\n\n```\n")
    assert doctest.testfile(str(wrong), module_relative=False, report=False, verbose=False).failed == 1


@pytest.mark.parametrize(("page", "line", "code"), COMMANDS)
def test_a_command_of_a_page_ends_as_it_says(page, line, code, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").symlink_to(DOCS)
    for body, name in FILE.findall(page.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(body)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == code
    out, err = capsys.readouterr()
    assert out or code
    assert err or code == 0


# The reference


def test_the_reference_is_what_its_script_prints():
    page = runpy.run_path(str(DOCS / "make_reference.py"))["page"]()
    remedy = "python docs/make_reference.py > docs/reference.md"
    assert (DOCS / "reference.md").read_text(encoding="utf-8") == page, remedy


def test_the_page_of_the_house_is_what_its_script_prints():
    page = runpy.run_path(str(DOCS / "make_house.py"))["page"]()
    assert (DOCS / "house.md").read_text(encoding="utf-8") == page, "python docs/make_house.py > docs/house.md"
    assert ": \n" not in page, "a module without a docstring"


def test_every_public_name_is_in_the_reference_and_says_what_it_is():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert {f"so.{name}" for name in so.__all__} <= set(re.findall(r"^- `(so\.\w+)`: \S", text, re.MULTILINE))
    listed = set(re.findall(r"^- `(\w+)", text, re.MULTILINE))
    for module in {name for name in sys.modules if re.match(r"secondorder\.(analytic|simulate|validation)\b", name)}:
        for name, thing in vars(import_module(module)).items():
            if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", "") == module:
                assert name in listed, f"{module}.{name}"
    assert not re.findall(r"^- .*: $", text, re.MULTILINE)


# The first-order suite


@pytest.fixture(scope="module")
def lines():
    """The cells of the page's table by workflow and subject."""
    page = (DOCS / "first_order.md").read_text(encoding="utf-8")
    table = page.partition("## The table")[2].partition("##")[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    return {(row[0], row[1]): row[2:] for row in cells}


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def unit_in_the_last_place(text: str) -> list[float]:
    """Of each number as printed."""
    return [10.0 ** -len(found.partition(".")[2]) for found in NUMBER.findall(text)]


def same(shown: str, found: str) -> bool:
    """The same words, and numbers within one unit of the last place printed: another machine may round otherwise."""
    if NUMBER.sub("#", shown) != NUMBER.sub("#", found):
        return False
    pairs = zip(numbers(shown), numbers(found), unit_in_the_last_place(shown), strict=True)
    return all(abs(one - other) <= 1.01 * last for one, other, last in pairs)


def test_the_page_has_a_line_for_every_row(lines):
    assert list(lines) == [(row.workflow, row.what) for row in suite.ROWS]


@pytest.mark.parametrize("row", suite.ROWS, ids=lambda row: f"{row.workflow}: {row.what}"[:60])
def test_a_number_of_the_suite_is_what_the_functions_give(row, lines):
    call, ours, twin, theirs, why = lines[row.workflow, row.what]
    found = suite.value(row.call)
    assert (call, why) == (f"`{suite.calls_of(row).ours}`", row.why)
    if row.workflow == "Registries":  # they grow
        assert all(now >= then for now, then in zip(found, numbers(ours), strict=True))
    else:
        assert same(ours, suite.shown(found, row)), suite.shown(found, row)
    assert theirs == (suite.shown(row.recorded, row) if row.theirs else "")
    assert isinstance(found, SecondOrderError) == ours.startswith("refused")
    if row.twin:
        again = suite.value(row.twin)
        assert isinstance(again, Estimate)
        amount, low, high = numbers(twin)[:3]
        last = unit_in_the_last_place(twin)[0]
        assert low - last <= again.amount * suite.UNITS[row.unit] <= high + last
        assert low <= amount <= high


def test_a_figure_of_its_page_lies_within_our_band_only_where_it_is_right():
    """41 times the carbon, 34 request/s, .8 ms and 4.2 ms lie outside; what agrees lies inside."""
    for what, theirs, right in (
        ("Poland over Quebec, the same fleet", 41, False),
        ("request/s of a replica: 1,920 tokens in, 128 out, 32 slots", 34, False),
        ("time per output token, batch 1, at 2,048 tokens", 0.8e-3, False),
        ("time to first token, prompt of 2,048, idle, half the peak", 4.2e-3, False),
        ("64 H100 for 3 years, all costs", 3.7e6, False),
        ("parameters for 5.76e23 FLOP at 20 tokens each", 69.3e9, True),
        ("MTBF of 16,384 GPUs (50,000 h) and NICs (150,000 h)", 2.289 * 3600, True),
    ):
        row = next(row for row in suite.ROWS if row.what == what)
        ends = [suite.value(call) for call in row.band[:2]]
        low, high = sorted(each.amount if isinstance(each, Estimate) else each for each in ends)
        assert (0.999 * low <= theirs <= 1.001 * high) == right, what


def test_the_reference_values_that_are_right_are_met():
    found = {
        row.what: suite.value(row.call) for row in suite.ROWS if not row.twin and not isinstance(row.call, Command)
    }
    ridges = found["ridge points of A100 80GB, H100 SXM, H200, T4, V100"]
    assert ridges == pytest.approx([153.0, 295.2, 206.0, 203.1, 138.9], abs=0.05)
    assert found["cache of a sequence of 2,048 tokens"] == pytest.approx(0.268e9, rel=2e-3)
    assert found["parameters for 5.76e23 FLOP at 20 tokens each"].amount == pytest.approx(69.3e9, rel=5e-4)
    assert round(found["MTBF of 16,384 GPUs (50,000 h) and NICs (150,000 h)"] / 3600, 3) == 2.289
    assert round(found["Young's interval for writes of 60 s"], 1) == 994.4
    memory = found["GPT-3, ZeRO 0 to 3, one microbatch"]
    assert [each / 1e9 for each in memory] == pytest.approx([362, 108, 64, 21], rel=0.02)


def test_every_workflow_of_the_suite_has_a_row():
    wanted = (
        "Roofline",
        "LLM serving",
        "Capacity",
        "Parallelism",
        "Training memory",
        "MoE",
        "Economics",
        "Sustainability",
        "Reliability",
        "Sensitivity",
        "Inverse roofline",
        "Scaling laws",
        "Compression",
        "Reasoning",
        "Data loading",
        "Topology",
        "Multi-tenant queue",
        "Privacy overhead",
        "Registries",
        "Command line",
    )
    assert {row.workflow for row in suite.ROWS} == set(wanted)
