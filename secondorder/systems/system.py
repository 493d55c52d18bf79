"""What the framework has to know of a kind of scenario: one value, in one file of this package.

References are lazy, ``"package.module:name"`` or the thing itself: nothing is imported before it is used,
and closed forms and simulations stay strangers to each other.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from secondorder.answers.metric import Metric

if TYPE_CHECKING:
    from secondorder.answers.answer import Answer
    from secondorder.scenarios.scenario import Scenario

T = TypeVar("T")
Lazy: TypeAlias = str | T

REPLICATIONS, MARGIN = 10, 0.10


def loaded(reference: Lazy[T]) -> T:
    """What a reference names.

    >>> loaded("math:floor")(2.5)
    2
    """
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    found: T = getattr(import_module(module), name)
    return found


def always(_: object) -> bool:
    """The condition that every scenario meets."""
    return True


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Something that a simulation has and a first-order formula leaves out; ``off(scenario)`` is a scenario without it.

    A scenario that does not have it comes back as it is. ``in_formula``: whether the closed forms can be asked for the
    scenario without it.
    """

    name: str
    off: "Lazy[Callable[..., Scenario]]"
    in_formula: bool = False


def effects(module: str, *in_formula: str, **off: str) -> "tuple[Effect, ...]":
    """Effects by name, with underscores for spaces; what turns them off is found in a module.

    >>> effects("secondorder.scenarios.effects.queue", waiting_to_fill="without_waiting_to_fill")[0].name
    'waiting to fill'
    """
    return tuple(
        Effect(name=name.replace("_", " "), off=f"{module}:{function}", in_formula=name in in_formula)
        for name, function in off.items()
    )


@dataclass(frozen=True, kw_only=True)
class System:
    """A kind of scenario and its witnesses.

    ``kind`` is its frozen dataclass, ``title`` one sentence for the help, ``example`` the flags of its command.
    ``closed_form(scenario)`` returns an ``Answer``. ``simulator(scenario, seed=, replications=, jobs=)`` does too,
    and also takes ``requests=`` if ``has_requests``, ``precision=`` and ``budget=`` if ``has_precision``, and
    ``witness=`` if ``has_kernel``; without a
    simulator the scenario has closed forms alone. ``has_tiers``: whether it knows of tiers below an engine's cache;
    ``has_stages``: whether of pipeline-parallel stages.
    ``is_random`` says of a scenario whether a simulation has anything to find. ``replications`` and ``margin`` (a
    share) hold where the user states none; the simulator chooses where ``replications`` is None. A system with a
    command of its own in ``cli/`` sets ``own_command``. ``metrics`` are those of its answers; a value that comes
    without a unit takes that of its metric. ``command`` is the name of its command where that is not its word.
    ``places(scenario, answer)`` says where it lies on which maps of approximations, by the name of their field.
    ``effects`` can be turned off, and ``one_run(scenario, seed=, replication=, requests=)`` measures one replication
    on random numbers that do not depend on which are on: ``explain`` takes both.
    """

    kind: "Lazy[type[Scenario]]"
    title: str
    example: str
    closed_form: "Lazy[Callable[..., Answer]]"
    simulator: "Lazy[Callable[..., Answer]] | None" = None
    has_requests: bool = False
    has_precision: bool = False
    has_kernel: bool = False
    has_tiers: bool = False
    has_stages: bool = False
    is_random: "Callable[..., bool]" = always
    replications: int | None = REPLICATIONS
    margin: float = MARGIN
    own_command: bool = False
    metrics: tuple[Metric, ...] = ()
    effects: tuple[Effect, ...] = ()
    places: "Lazy[Callable[..., Mapping[str, Mapping[str, float]]]] | None" = None
    one_run: "Lazy[Callable[..., dict[str, float]]] | None" = None
    command: str = ""

    @cached_property
    def type(self) -> "type[Scenario]":
        """The dataclass, imported when first asked for."""
        return loaded(self.kind)

    @property
    def name(self) -> str:
        """The name of its dataclass, which need not be imported for it."""
        return self.kind.partition(":")[2] if isinstance(self.kind, str) else self.kind.__name__

    @property
    def word(self) -> str:
        """Its name in plans and, with hyphens, on the command line: ``training_step`` is a ``TrainingStep``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def command_name(self) -> str:
        """What its command is called."""
        return self.command or self.word.replace("_", "-")

    def can_simulate(self, scenario: "Scenario") -> bool:
        """Whether there is a simulation of such a scenario, and anything for it to find."""
        return self.simulator is not None and self.is_random(scenario)

    @property
    def example_values(self) -> dict[str, str]:
        """What the example gives the fields."""
        words = shlex.split(self.example)
        return {flag[2:].replace("-", "_"): text for flag, text in zip(words[::2], words[1::2], strict=True)}
