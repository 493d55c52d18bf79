"""A command for each scenario that has none of its own: its flags are the fields of the dataclass.

A flag takes what a plan takes: a quantity with its unit, a name of the zoo, a line, or a TOML table. The
fields of a field that is itself a scenario or a job stand beside the others under their own names.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.options import PRINTED, REQUIRED, Margin, Output, Replications, Simulated
from secondorder.cli.output import check_output, patience, show
from secondorder.plans.text import plain_value
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import System

if TYPE_CHECKING:
    from secondorder.plans.fields import ShownField

OPTIONAL = Group("Optional", sort_key=2)
INNER = {
    "Serving": Group("Service (as in vLLM)", sort_key=3),
    "TrainingJob": Group("Job", sort_key=3),
    "Layout": Group("Layout", sort_key=4),
}
"""Where the flags stand that are not required: those of the fields of a field together."""
TIMES = Replications()


@dataclass(frozen=True)
class _Flag:
    """A flag, and the place of its field: ``("serving", "model")``."""

    field: "ShownField"
    path: tuple[str, ...]
    group: Group

    @property
    def member(self) -> tuple[Any, ...]:
        """Of the dataclass that holds a command's flags; without a default where the flag is due."""
        one = self.field
        shown = Parameter(
            group=REQUIRED if one.required else self.group,
            allow_leading_hyphen=True,
            help=one.text,
            metavar=None if one.choices else one.metavar,
            choices=one.choices or None,
            show_default=one.default or False,
        )
        if one.required:
            return one.name, Annotated[str, shown]
        return one.name, Annotated[str | None, shown], field(default=None)


def command(system: System) -> Callable[..., None]:
    """The command of a kind of scenario."""
    kind = system.type
    flags = {flag.field.name: flag for flag in _flags(kind, OPTIONAL)}
    space = {"__module__": __name__}  # else it passes for a type of the standard library
    members = [flag.member for flag in flags.values()]
    made = make_dataclass(f"{kind.__name__}Flags", members, frozen=True, kw_only=True, namespace=space)
    table = Parameter(name="*")(made)

    def closed(*, values: Any, out: Output = PRINTED) -> None:
        run(values=values, simulate=False, out=out)

    def run(
        *,
        values: Any,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Replications = TIMES,
        out: Output = PRINTED,
    ) -> None:
        check_output(out)
        texts = {name: text for name in flags if (text := getattr(values, name)) is not None}
        _answer(read(kind, {flags[name].path: text for name, text in texts.items()}), simulate, margin, run, out)

    closed.__annotations__["values"] = run.__annotations__["values"] = table
    closed.__doc__ = run.__doc__ = system.title
    return closed if system.simulator is None else run


def read(kind: type, texts: Mapping[tuple[str, ...], str]) -> Any:
    """The scenario whose fields are spelt by these texts."""
    from secondorder.errors import FileError, InputError
    from secondorder.plans.tables import Tables

    nested: dict[str, Any] = {}
    for path, text in texts.items():
        inner = nested
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = plain_value(text)
    try:
        return Tables().build(kind, nested)
    except FileError:
        raise
    except InputError as error:
        inside, own = {".".join(path[:-1]) for path in texts if len(path) > 1}, {each.name for each in fields(kind)}
        for prefix in sorted(inside, key=len, reverse=True):
            bare = error.what.removeprefix(f"{prefix}.")
            error.what = error.what if bare in own else bare  # its own would be meant
        raise


def _answer(scenario: Any, simulated: bool, margin: float | None, run: Replications, out: Output) -> None:
    from secondorder.validation.comparison import compare
    from secondorder.verbs import can_simulate, solve

    if not (simulated and can_simulate(scenario)):
        show(solve(scenario), out)
        return
    with patience("simulating"):
        found = compare(scenario, margin=margin, **run.arguments)
    show(found, out)


def _flags(kind: type, group: Group, path: tuple[str, ...] = (), taken: Set[str] = frozenset()) -> Iterator[_Flag]:
    """A flag for each field; those of a field that is spelt by a table only stand in its place.

    Where the outer one has a field of that name too, the inner one is told by its place: serving_kv_precision.
    """
    from secondorder.plans.fields import shown_fields

    known = shown_fields(kind)
    for one in known.values():
        if one.table is not None:
            yield from _flags(one.table, INNER[one.table.__name__], (*path, one.name), taken | known.keys())
        elif not (path and one.name == "name"):
            shown = replace(one, name=f"{path[-1]}_{one.name}") if path and one.name in taken else one
            yield _Flag(shown, (*path, one.name), group)


def __getattr__(name: str) -> Any:
    """The command of a kind of scenario, made when it is first asked for."""
    if name not in SYSTEMS or SYSTEMS[name].own_command:
        raise AttributeError(name)
    return command(SYSTEMS[name])


def example(word: str) -> str:
    """What the help of a command shows at its end."""
    words = re.findall(r'--[\w-]+(?: (?:"[^"]*"|[^-\s]\S*))?', SYSTEMS[word].example)
    lines = [f"  secondorder {word.replace('_', '-')}"]
    for each in words:
        if len(lines[-1]) + len(each) > 70:
            lines.append("   ")
        lines[-1] += f" {each}"
    return "Example:\n\n" + " \\\n".join(lines) + "\n"
