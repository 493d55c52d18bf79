"""The options that several commands share, and how numbers are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token

from secondorder.errors import InputError

SIMULATION = Group("Simulation", sort_key=8)
OUTPUT = Group("Output", sort_key=9)


def plain(_: Any, tokens: Sequence[Token]) -> Any:
    """An option's number; what is none is left to the field to refuse."""
    text = tokens[0].value
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def at_least(least: int) -> Callable[[Any, Sequence[Token]], int]:
    """Reads an integer with a lower bound."""

    def read(kind: Any, tokens: Sequence[Token]) -> int:
        value = plain(kind, tokens)
        if not isinstance(value, int) or value < least:
            raise InputError(_field(tokens), given=tokens[0].value, expected=f"an integer of at least {least}")
        return value

    return read


def share(kind: Any, tokens: Sequence[Token]) -> float:
    """Reads a number between 0 and 1."""
    value = plain(kind, tokens)
    if isinstance(value, str) or not 0 < value < 1:
        raise InputError(_field(tokens), given=tokens[0].value, expected="a share between 0 and 1, such as 0.1")
    return float(value)


def efficiency(kind: Any, tokens: Sequence[Token]) -> float:
    """Reads a number above 0 and at most 1."""
    value = plain(kind, tokens)
    if isinstance(value, str) or not 0 < value <= 1:
        raise InputError(_field(tokens), given=tokens[0].value, expected="a number above 0 and at most 1")
    return float(value)


def _field(tokens: Sequence[Token]) -> str:
    return (tokens[0].keyword or "value").lstrip("-").replace("-", "_")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Replications:
    """How often a scenario is simulated."""

    seed: Annotated[int, Parameter(group=SIMULATION, converter=at_least(0), help="Of the random numbers.")] = 0
    replications: Annotated[
        int | None,
        Parameter(
            group=SIMULATION,
            converter=at_least(2),
            help="Independent runs; intervals come from these. Default: 10, of training 100.",
        ),
    ] = None
    jobs: Annotated[int, Parameter(group=SIMULATION, converter=at_least(1), help="Processes that share the work.")] = 1

    @property
    def arguments(self) -> dict[str, Any]:
        """As ``simulate`` takes them."""
        return {"seed": self.seed, "replications": self.replications, "jobs": self.jobs}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Run(Replications):
    """How a scenario with requests is simulated."""

    num_prompts: Annotated[
        int | None,
        Parameter(group=SIMULATION, converter=at_least(1), help="Requests of each run. Default: as many as it takes."),
    ] = None

    @property
    def arguments(self) -> dict[str, Any]:
        """As ``simulate`` takes them."""
        return {**super().arguments, "requests": self.num_prompts}


USUAL = Run()

Margin = Annotated[
    float | None,
    Parameter(
        group=SIMULATION,
        converter=share,
        help="How far off a formula may be and still agree, a share. Default: 0.1, of training 0.005.",
    ),
]

Format = Literal["table", "json", "csv", "markdown"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the payload goes, and in what form."""

    format: Annotated[Format, Parameter(group=OUTPUT, help="json and csv have SI units, and the unit in a column.")] = (
        "table"
    )
    output: Annotated[str | None, Parameter(group=OUTPUT, help="File to write instead of standard output.")] = None


PRINTED = Output()
