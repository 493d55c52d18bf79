"""The options that several commands share, and how numbers are read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from cyclopts import Group, Parameter, Token
from cyclopts.help import ColumnSpec, DefaultFormatter, DescriptionRenderer, HelpEntry, NameRenderer
from cyclopts.help.specs import AsteriskColumn

from secondorder.errors import InputError
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import MARGIN, REPLICATIONS, System

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

    from secondorder.studies.points import Keeping

REQUIRED = Group("Required", sort_key=1)
SIMULATION = Group("Simulation", sort_key=8)
STORE = Group("Store and cluster", sort_key=9)
OUTPUT = Group("Output", sort_key=10)


def _columns(console: "Console", options: "ConsoleOptions", entries: list[HelpEntry]) -> tuple[ColumnSpec, ...]:
    """Flags and texts; the longest flag of all and its text fit in 80 columns."""
    names = ColumnSpec(renderer=NameRenderer(max_width=_LONGEST), style="cyclopts.name", max_width=_LONGEST)
    texts = ColumnSpec(renderer=DescriptionRenderer(), overflow="fold")
    return (AsteriskColumn, names, texts) if any(entry.required for entry in entries) else (names, texts)


_LONGEST = len("--long-prefill-token-threshold")


class _Formatter(DefaultFormatter):
    """The usual one, with a usage line whose later lines are indented and do not part an option from its value."""

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: object) -> None:
        from rich.text import Text

        joined = re.sub(r"(--\S+) (?=[A-Z])", "\\1\0", f"Usage: {usage}".strip())
        lines = wrap(joined, console.width, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
        text = "\n".join(lines).replace("\0", " ")
        super().render_usage(console, options, Text(f"{text}\n", style="cyclopts.usage"))


FLAGS = _Formatter(column_specs=_columns)
"""How the flags of a command are shown."""


def pasted(example: str) -> str:
    """The examples of a command as a shell takes them: lines that go on end with a backslash."""
    return re.sub(r"(?<!\\)\n(?=    --)", " \\\\\n", example)


EXPECTED = {
    "INT": "an integer",
    "FLOAT": "a number",
    "SHARE": "a share from 0 to 1",
    "BOOL": "true or false",
    "NAME": "a name",
    "LAW": "a law",
    "TIME": "a time",
    "RATE": "a rate",
    "SIZE": "a size",
    "BANDWIDTH": "a bandwidth",
    "PRICE": "a price",
    "LINK": "a link",
    "TABLE": "a table",
    "PLAN": "a plan file",
    "FILE": "a file",
}
"""The placeholder of a value in the help, and what is expected there."""


def plain(_: object, tokens: Sequence[Token]) -> int | float | str:
    """An option as a number; a text that is none is left as it is, for the field to refuse."""
    text = tokens[0].value
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def at_least(least: int) -> Callable[[object, Sequence[Token]], int]:
    """Reads an integer with a lower bound."""

    def read(kind: object, tokens: Sequence[Token]) -> int:
        value = plain(kind, tokens)
        if not isinstance(value, int) or value < least:
            raise InputError(_field(tokens), given=tokens[0].value, expected=f"an integer of at least {least}")
        return value

    return read


def share(kind: object, tokens: Sequence[Token]) -> float:
    """Reads a number between 0 and 1."""
    value = plain(kind, tokens)
    if isinstance(value, str) or not 0 < value < 1:
        raise InputError(_field(tokens), given=tokens[0].value, expected="a share between 0 and 1, such as 0.1")
    return float(value)


def efficiency(kind: object, tokens: Sequence[Token]) -> float:
    """Reads a number above 0 and at most 1."""
    value = plain(kind, tokens)
    if isinstance(value, str) or not 0 < value <= 1:
        raise InputError(_field(tokens), given=tokens[0].value, expected="a number above 0 and at most 1")
    return float(value)


def _field(tokens: Sequence[Token]) -> str:
    return (tokens[0].keyword or "value").lstrip("-").replace("-", "_")


def truth(value: object) -> str:
    """A truth value as a plan spells it."""
    return str(value).lower()


Simulated = Annotated[
    bool, Parameter(group=SIMULATION, help="Also simulate, and judge the closed forms.", show_default=truth)
]
Seed = Annotated[int, Parameter(group=SIMULATION, converter=at_least(0), help="Seed of the random numbers.")]
Jobs = Annotated[int, Parameter(group=SIMULATION, converter=at_least(1), help="Processes that share the work.")]


def _replications(default: str) -> Parameter:
    text = "Independent runs that the intervals come from."
    return Parameter(group=SIMULATION, converter=at_least(2), help=text, show_default=default)


def _margin(default: str) -> Parameter:
    text = "Largest relative error with which a formula agrees, as a share."
    return Parameter(group=SIMULATION, converter=share, metavar="SHARE", help=text, show_default=default)


_TRAINING = SYSTEMS["training"]
Margin = Annotated[float | None, _margin(f"{MARGIN:g}")]
MarginOfPlan = Annotated[float | None, _margin(f"{MARGIN:g}, of training {_TRAINING.margin:g}")]


class Times(TypedDict, total=False):
    """What ``simulate`` takes for every scenario."""

    seed: int
    replications: int | None
    jobs: int


class TimesOfRequests(Times, total=False):
    """The same for a scenario with requests."""

    requests: int | None
    witness: Literal["kernel", "events"]


class TimesOfService(TimesOfRequests, total=False):
    """The same for a service, whose run ends at a precision or with a budget of time."""

    precision: float
    budget: str


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Replications:
    """How often a scenario is simulated."""

    seed: Seed = 0
    replications: Annotated[int | None, _replications(f"{REPLICATIONS}")] = None
    jobs: Jobs = 1

    @property
    def arguments(self) -> Times:
        """As ``simulate`` takes them."""
        return {"seed": self.seed, "replications": self.replications, "jobs": self.jobs}


_NUM_PROMPTS = Parameter(
    group=SIMULATION, converter=at_least(1), help="Requests of each run.", show_default="as many as needed"
)


ADDED = " A sweep of anything else adds replications where the intervals of --metric are widest."


def _precision(*names: str, more: str = "") -> Parameter:
    text = f"Relative half-width of the intervals of a service, as a share.{more}"
    return Parameter(name=names, group=SIMULATION, converter=share, metavar="SHARE", help=text, show_default="0.05")


_WITNESS = Parameter(
    group=SIMULATION,
    help="Program that simulates a service: a compiled kernel, or events on SimPy. Both give the same times.",
    show_default="the kernel, where it knows all that the service uses",
)

_BUDGET = Parameter(
    group=SIMULATION,
    metavar="TIME",
    help='Time that the simulation of a service may take, "60 s".',
    show_default="none",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOfRequests(Replications):
    """How often a scenario with requests is simulated, and how long."""

    num_prompts: Annotated[int | None, _NUM_PROMPTS] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Run(RunOfRequests):
    """How a scenario with requests is simulated."""

    witness: Annotated[Literal["kernel", "events"] | None, _WITNESS] = None

    @property
    def arguments(self) -> TimesOfRequests:
        """As ``simulate`` takes them."""
        requests, witness = self.num_prompts, self.witness
        given = TimesOfRequests(seed=self.seed, replications=self.replications, jobs=self.jobs, requests=requests)
        return given if witness is None else {**given, "witness": witness}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOfService(Run):
    """How a service is simulated: ``--precision`` is its number format, or the half-width where it is a number."""

    half_width: Annotated[float | None, _precision("--half-width")] = None
    budget: Annotated[str | None, _BUDGET] = None

    @property
    def arguments(self) -> TimesOfService:
        """As ``simulate`` takes them."""
        requests, witness = self.num_prompts, self.witness
        given = TimesOfService(seed=self.seed, replications=self.replications, jobs=self.jobs, requests=requests)
        if witness is not None:
            given["witness"] = witness
        if self.half_width is not None:
            given["precision"] = self.half_width
        if self.budget is not None:
            given["budget"] = self.budget
        return given

    def with_precision_of(self, given: dict[str, str | bool]) -> "RunOfService":
        """With the ``precision`` among flags as half-width, and taken from there, if it is a number."""
        width = number_in(str(given.get("precision", "")))
        if width is None:
            return self
        if self.half_width is not None or not 0 < width < 1:
            expected = "a share between 0 and 1" if self.half_width is None else "one of --precision and --half-width"
            raise InputError("precision", given=given["precision"], expected=expected)
        del given["precision"]
        return replace(self, half_width=width)


def number_in(text: str) -> float | None:
    """A text as a number; None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOfPlan(RunOfService):
    """How the scenarios of a plan are simulated."""

    half_width: Annotated[float | None, _precision("--precision", "--half-width", more=ADDED)] = None
    replications: Annotated[int | None, _replications(f"{REPLICATIONS}, of training 3,000, or 100 on SimPy")] = None


OF_REQUESTS, USUAL, OF_SERVICE = RunOfRequests(), Run(), RunOfService()


OWN = "Without it, a sweep keeps its points in your cache folder."
STORE_FILE = "SQLite file that each finished point is written to."


def _store(help: str) -> Parameter:
    return Parameter(group=STORE, metavar="FILE", help=help)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where the points of a study are kept."""

    store: Annotated[str | None, _store(STORE_FILE)] = None
    resume: Annotated[
        bool,
        Parameter(group=STORE, help="Reuse the points that the store already has.", show_default=truth, negative=""),
    ] = False

    def keeping(
        self, jobs: int, told: Callable[[int, int], None] | None = None, default: str | None = None
    ) -> "Keeping":
        """As studies take it; ``default`` is the file where no other is given."""
        from secondorder.studies.points import Keeping

        store = self.store or default
        if self.resume and store is None:
            raise InputError("resume", given="no store", expected="--store FILE too")
        return Keeping(store=store, resume=self.resume, anew=self.store is None, jobs=jobs, told=told)


NOT_STORED = Stored()


def _scheduler(*names: str) -> Parameter:
    text = "Dask scheduler whose workers run the points, tcp://HOST:PORT."
    return Parameter(name=names, group=STORE, metavar="ADDRESS", help=text)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Kept(Stored):
    """Where the points of a study are kept and worked out."""

    store: Annotated[str | None, _store(f"{STORE_FILE} {OWN}")] = None
    cluster: Annotated[str | None, _scheduler("--cluster", "--scheduler")] = None

    def keeping(
        self, jobs: int, told: Callable[[int, int], None] | None = None, default: str | None = None
    ) -> "Keeping":
        """As studies take it; ``default`` is the file where no other is given."""
        return replace(super().keeping(jobs, told, default), cluster=self.cluster)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class KeptBesideNodes(Kept):
    """The same for a command whose ``--cluster`` names the nodes of a step."""

    cluster: Annotated[str | None, _scheduler("--scheduler")] = None


NOT_KEPT = Kept()


def margin_of(system: System) -> object:
    """The annotation of the margin of a kind of scenario."""
    return Annotated[float | None, _margin(f"{system.margin:g}")]


def run_of(system: System) -> type[Replications]:
    """The options of a run of a kind of scenario; the help shows its number of replications."""
    base = RunOfService if system.has_precision else Run if system.has_requests else Replications
    default = "as many as needed" if system.replications is None or system.has_precision else f"{system.replications}"
    times = Annotated[int | None, _replications(default)]
    space = {"__module__": __name__}  # else it passes for a type of the standard library
    members = [("replications", times, field(default=None))]
    made = make_dataclass(base.__name__, members, bases=(base,), frozen=True, kw_only=True, namespace=space)
    return Parameter(name="*")(made)


Format = Literal["table", "json", "csv", "markdown"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the payload goes, and in what form."""

    format: Annotated[Format, Parameter(group=OUTPUT, help="Form of the results; json and csv are in SI units.")] = (
        "table"
    )
    output: Annotated[
        str | None, Parameter(group=OUTPUT, metavar="FILE", help="File to write instead of standard output.")
    ] = None


PRINTED = Output()
