"""One door for plan files and flags: tables and lines of text become the dataclasses they spell.

A table gives a dataclass's fields by name. A field that is itself a dataclass is a table
again, or the line of text that spells it; where several types may stand, the table says
which with ``kind``. What a value must be is checked in one place, by the dataclass.

>>> from secondorder.scenarios.serving import Serving
>>> table = {"model": "llama_3_1_8b", "accelerator": "h100_sxm", "lengths": "azure_conv_2023"}
>>> Door().build(Serving, {**table, "arrivals": "poisson 8 request/s"}).arrivals
Poisson(rate=<Quantity(8.0, 'request / second')>)
>>> Door().build(Serving, {**table, "arrivals": {"kind": "poisson", "rate": 8}})
Traceback (most recent call last):
secondorder.errors.UnitError: arrivals.rate: got 8 without a unit, expected a quantity in request/s; write "8 request/s"
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from secondorder.cli.options import listed
from secondorder.errors import FileError, InputError, UnknownName
from secondorder.fleets.accelerators import Accelerator, accelerators
from secondorder.fleets.clusters import (
    Cluster,
    Fabric,
    Link,
    Node,
    Storage,
    clusters,
    fabrics,
    nodes,
    storages,
)
from secondorder.fleets.failures import (
    Bursts,
    FailureProcess,
    FailureRates,
    NewNodes,
    PlatformRenewal,
    ReplicatedPairs,
    StationaryNodes,
    failure_rates,
)
from secondorder.fleets.regions import Facility, Region, facilities, regions
from secondorder.laws import LAWS, Time
from secondorder.scenarios.compression import METHODS
from secondorder.scenarios.queue import (
    BatchService,
    Closed,
    Comers,
    Discipline,
    FirstCome,
    ForkJoin,
    JoinShortest,
    Patience,
    Priorities,
    ProcessorSharing,
    Random,
    Renewal,
    Routing,
    Shared,
    read_comers,
)
from secondorder.scenarios.steptime import Affine, Roofline, StepTime
from secondorder.scenarios.topology import SHAPES
from secondorder.scenarios.training import CHECKPOINTS, CheckpointPolicy, Recovery, read_checkpoint
from secondorder.scenarios.training_step import TrainingStep
from secondorder.spelling import read, read_numbers
from secondorder.workloads.arrivals import (
    Arrivals,
    Deterministic,
    Gamma,
    MarkovModulated,
    Poisson,
    read_arrivals,
)
from secondorder.workloads.huggingface import from_config
from secondorder.workloads.lengths import MARGINALS, Empirical, Lengths, Marginal, read_lengths, read_marginal
from secondorder.workloads.models import models
from secondorder.workloads.network import Network
from secondorder.workloads.traces import Trace, read_trace
from secondorder.workloads.transformer import Transformer
from secondorder.zoo import Zoo

T = TypeVar("T")

ARRIVALS = {law.word: law for law in (Poisson, Gamma, Deterministic, MarkovModulated)}
DISCIPLINES: dict[str, type] = {
    "fcfs": FirstCome,
    "ps": ProcessorSharing,
    "priorities": Priorities,
    "batch": BatchService,
}
ROUTINGS: dict[str, type] = {"shared": Shared, "random": Random, "jsq": JoinShortest, "fork-join": ForkJoin}
FAILURES: dict[str, type] = {
    "renewal": PlatformRenewal,
    "stationary": StationaryNodes,
    "new": NewNodes,
    "bursts": Bursts,
    "pairs": ReplicatedPairs,
}
ZOOS: dict[Any, tuple[Zoo[Any], str]] = {
    Accelerator: (accelerators, "h100_sxm"),
    Cluster: (clusters, "llama_3_16k"),
    Node: (nodes, "dgx_h100"),
    Fabric: (fabrics, "infiniband_ndr"),
    Storage: (storages, "tectonic_llama_3"),
    FailureRates: (failure_rates, "llama_3"),
    Region: (regions, "poland"),
    Facility: (facilities, "microsoft"),
}
"""What may be called by its name in a plan."""
STEP_TIMES: dict[str, type] = {"roofline": Roofline, "affine": Affine}


@dataclass(frozen=True)
class Door:
    """Reads values as fields ask for them; ``folder`` is where the files they name are looked for."""

    folder: Path = Path()

    def build(self, kind: type[T], table: Mapping[str, Any]) -> T:
        """The dataclass whose fields ``table`` gives. Errors name the field as seen from inside."""
        known = {field.name: field for field in fields(kind) if field.name != "sources"}  # type: ignore[arg-type]
        check_keys(table, known)
        due = [name for name, field in known.items() if field.default is field.default_factory is MISSING]
        if missing := [name for name in due if name not in table]:
            raise self._missing(kind, missing)
        return kind(**{name: self.field(kind, name, value) for name, value in table.items()})

    def _missing(self, kind: type, names: list[str]) -> InputError:
        """The error for fields that are due: what the first of them is, and which the others are."""
        from secondorder.cli.fields import expected_in_plan

        first, *others = names
        remedy = f"{listed(others)} {'is' if len(others) == 1 else 'are'} missing too" if others else ""
        try:
            self.field(kind, first, None)
        except InputError as error:  # of a reader, which knows what it reads
            return InputError(first, given="nothing", expected=error.expected, remedy=remedy)
        return InputError(first, given="nothing", expected=expected_in_plan(kind, first), remedy=remedy)

    def field(self, kind: type, name: str, value: Any) -> Any:
        """A value as the field ``name`` of ``kind`` takes it; what is no text or table passes as it is."""
        hint = _hints(kind)[name]
        if reader := _READERS.get(hint):
            return reader(self, name, value)
        if known := next((member for member in (hint, *get_args(hint)) if member in ZOOS), None):
            return self.known(name, value, known)
        nested = [member for member in (hint, *get_args(hint)) if isinstance(member, type) and is_dataclass(member)]
        if len(nested) == 1 and isinstance(value, Mapping):
            with told_from(name):
                return self.build(nested[0], value)
        if isinstance(value, str) and any(get_origin(member) is Sequence for member in get_args(hint)):
            return read_numbers(value, name)
        if get_origin(hint) is Mapping and not isinstance(value, Mapping):
            raise InputError(name, given=repr(value), expected="a table")
        if isinstance(value, Mapping) and (kinds := _kinds(hint)):
            return self._of_kind(name, value, kinds, "a line, or a table with its kind")
        return value

    def file(self, name: str) -> Path:
        """A file that a value names."""
        return self.folder / name

    def model(self, what: str, value: Any) -> Transformer:
        """A name of the zoo, a Hugging Face ``config.json``, or a table (``like`` names one to start from)."""
        model = self.network(what, value)
        if isinstance(model, Network):
            raise InputError(what, given=f"{value!r}, which is no language model", expected="a transformer")
        return model

    def network(self, what: str, value: Any) -> Transformer | Network:
        """As ``model``, and any other network of the zoo."""
        if isinstance(value, str) and value not in models and is_path(value):
            return from_config(self.file(value))
        example = "a name such as llama_3_1_8b, a config.json, or a table"
        return self._entry(what, value, models, Transformer, example)  # type: ignore[no-any-return]

    def known(self, what: str, value: Any, kind: type) -> Any:
        """A name of the zoo or a table (``like`` names one to start from); a value of the type passes as it is."""
        if value is None or isinstance(value, kind):
            return value
        zoo, example = ZOOS[kind]
        return self._entry(what, value, zoo, kind, f"a name such as {example}, or a table")

    def _entry(self, what: str, value: Any, zoo: Zoo[Any], kind: type, expected: str) -> Any:
        if isinstance(value, str):
            return named(what, value, zoo)
        if not isinstance(value, Mapping):
            raise InputError(what, given=_given(value), expected=expected)
        with told_from(what):
            return self._changed(value, zoo) if "like" in value else self.build(kind, value)

    def _changed(self, table: Mapping[str, Any], zoo: Zoo[Any]) -> Any:
        """An entry of the zoo with other values in some fields."""
        original = named("like", str(table["like"]), zoo)
        changes = {key: value for key, value in table.items() if key != "like"}
        check_keys(changes, [field.name for field in fields(original) if field.name != "sources"])
        return replace(original, **{key: self.field(type(original), key, value) for key, value in changes.items()})

    def arrivals(self, what: str, value: Any) -> Arrivals | Trace:
        """A law of arrivals, or a trace with all that it brings."""
        if isinstance(value, str):
            return read_trace(self.file(value)) if is_path(value) else read_arrivals(value)
        example = '"poisson 8 request/s", a table with its kind, or the file of a trace'
        return self._of_kind(what, value, {**ARRIVALS, "trace": Trace}, example)  # type: ignore[no-any-return]

    def trace(self, table: Mapping[str, Any]) -> Trace:
        """A trace by its ``file``, at its own rate unless another is given, and the options of ``read_trace``."""
        check_keys(table, [*_TRACE_OPTIONS, "rate"])
        options: dict[str, Any] = {key: table.get(key) for key in _TRACE_OPTIONS if key in table or key == "file"}
        for key, value in options.items():
            kind, expected = _TRACE_OPTIONS[key]
            if not isinstance(value, kind):
                raise InputError(key, given=_given(value), expected=expected)
        trace = read_trace(self.file(options.pop("file")), **options)
        return trace.at(table["rate"]) if "rate" in table else trace

    def lengths(self, what: str, value: Any) -> Lengths | Empirical:
        """A name of the zoo, a table of ``input`` and ``output``, or the file of a trace (its pairs are drawn)."""
        if isinstance(value, str):
            return read_trace(self.file(value)).lengths if is_path(value) else read_lengths(value, what)
        if not isinstance(value, Mapping):
            example = "a name such as azure_conv_2023, a table of input and output, or the file of a trace"
            raise InputError(what, given=_given(value), expected=example)
        with told_from(what):
            return self.build(Lengths, value)

    def length(self, what: str, value: Any) -> Any:
        """An integer, a law in one line, or a table with its kind."""
        if isinstance(value, str):
            return read_marginal(value, what)
        if isinstance(value, int):
            return value  # Lengths makes a law of it, or refuses it
        return self._of_kind(what, value, MARGINALS, 'an integer, "geometric 256", or a table with its kind')

    def step_time(self, what: str, value: Any) -> Any:
        """A line such as ``roofline memory_efficiency=0.9``, or a table with its kind."""
        example = "roofline memory_efficiency=0.9"
        if isinstance(value, str):
            return read(value, STEP_TIMES, what=what, example=example)
        return self._of_kind(what, value, STEP_TIMES, f'"{example}", or a table with its kind')

    def comers(self, what: str, value: Any) -> Any:
        """A line such as ``poisson 8 request/s`` or ``renewal erlang 125 ms stages=4``, or a table with its kind."""
        if isinstance(value, str):
            return read_comers(value)
        example = '"poisson 8 request/s", or a table with its kind'
        return self._of_kind(what, value, {**ARRIVALS, "renewal": Renewal, "closed": Closed}, example)

    def discipline(self, what: str, value: Any) -> Any:
        """``fcfs``, ``ps``, ``priorities 0.2,0.8``, a line of a batch's fields, or a table with its kind."""
        if isinstance(value, str) and value.partition(" ")[0] == "priorities":
            return Priorities(shares=_numbers(what, value.partition(" ")[2]))
        return self._rule(what, value, DISCIPLINES, '"ps", "priorities 0.2,0.8", or a table with its kind')

    def routing(self, what: str, value: Any) -> Any:
        """``shared``, ``random``, ``jsq d=2``, ``fork-join``, or a table with its kind."""
        return self._rule(what, value, ROUTINGS, '"jsq d=2", or a table with its kind')

    def _rule(self, what: str, value: Any, kinds: Mapping[str, type], expected: str) -> Any:
        if isinstance(value, str):
            return read(value, kinds, what=what, example=next(iter(kinds)))
        return self._of_kind(what, value, kinds, expected)

    # Fleets and training

    def checkpoint(self, what: str, value: Any) -> Any:
        """A line such as ``blocking 30 min write=60 s``, or a table with its kind."""
        if isinstance(value, str):
            return read_checkpoint(value)
        if isinstance(value, Mapping):
            value = {**value, "kind": str(value.get("kind", "blocking")).replace("-", "_")}
        return self._of_kind(what, value, CHECKPOINTS, '"blocking 30 min write=60 s", or a table with its kind')

    def failures(self, what: str, value: Any) -> Any:
        """A line that the scenario reads, or a table with its kind."""
        if isinstance(value, str | FailureProcess):
            return value
        return self._of_kind(what, value, FAILURES, '"exponential 3 h", or a table with its kind')

    def recovery(self, what: str, value: Any) -> Any:
        """A line such as ``300 s detection=30 s``, or a table."""
        return self._line_or_table(what, value, Recovery, "300 s detection=30 s")

    def link(self, what: str, value: Any) -> Any:
        """A line such as ``50 GB/s latency=5 us``, or a table."""
        return self._line_or_table(what, value, Link, "50 GB/s latency=5 us")

    def step(self, what: str, value: Any) -> Any:
        """A law of a time, or a table with the fields of a training step."""
        if not isinstance(value, Mapping):
            return value
        with told_from(what):
            return self.build(TrainingStep, value)

    def _line_or_table(self, what: str, value: Any, kind: type, example: str) -> Any:
        if isinstance(value, str):
            return read(f"{what} {value}", {what.lower(): kind}, what=what, example=example)
        if value is None or isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise InputError(what, given=repr(value), expected=f'"{example}", or a table')
        with told_from(what):
            return self.build(kind, value)

    def patience(self, what: str, value: Any) -> Any:
        """A line such as ``5 s retries=3``, or a table."""
        if isinstance(value, str):
            return read(f"patience {value}", {"patience": Patience}, what=what, example="5 s retries=3")
        with told_from(what):
            return self.build(Patience, value)

    def _of_kind(self, what: str, value: Any, kinds: Mapping[str, type], expected: str) -> Any:
        """The one of ``kinds`` that a table's ``kind`` names, made of its other keys."""
        if not isinstance(value, Mapping):
            raise InputError(what, given=_given(value), expected=expected)
        with told_from(what):
            word = value.get("kind")
            if not isinstance(word, str):
                raise InputError("kind", given=_given(word), expected=" or ".join(kinds))
            if word not in kinds:
                raise UnknownName.among("kind", word, kinds)
            table = {key: one for key, one in value.items() if key != "kind"}
            return self.trace(table) if word == "trace" else self.build(kinds[word], table)


_READERS: Mapping[Any, Callable[[Door, str, Any], Any]] = {
    Transformer: Door.model,
    Transformer | Network: Door.network,
    Arrivals | Trace: Door.arrivals,
    Lengths | Empirical | None: Door.lengths,
    Marginal | int: Door.length,
    StepTime: Door.step_time,
    StepTime | None: Door.step_time,
    Comers | str: Door.comers,
    Discipline: Door.discipline,
    Routing: Door.routing,
    Patience | None: Door.patience,
    CheckpointPolicy | str: Door.checkpoint,
    FailureProcess | FailureRates | str | None: Door.failures,
    Recovery: Door.recovery,
    TrainingStep | Time | None: Door.step,
    Link: Door.link,
    Link | None: Door.link,
}
"""How a field of each type may be spelled beside the value itself."""


def _kinds(hint: Any) -> Mapping[str, type] | None:
    """The types, by their words, that a field takes which a line spells, or a table with its kind."""
    spelt: tuple[Mapping[str, type], ...] = (LAWS, MARGINALS, METHODS, SHAPES)
    return next((kinds for kinds in spelt if set(kinds.values()).issubset(get_args(hint))), None)


_TRACE_OPTIONS: Mapping[str, tuple[type, str]] = {
    "file": (str, "the file of a trace"),
    "format": (str, "azure, mooncake or burstgpt"),
    "columns": (Mapping, "a table with the column of each of arrival, input_tokens and output_tokens"),
    "arrival_unit": (str, '"s" or "ms"'),
    "hash_block": (int, "an integer of at least 1"),
    "name": (str, "a name"),
}
"""The type that each option of ``read_trace`` has in a table, and what to write."""


def named(what: str, name: str, zoo: Zoo[T]) -> T:
    """The entry of that name; ``what`` names the field in the error."""
    if name not in zoo:
        raise zoo.unknown(name, what)
    return zoo[name]


def is_path(text: str) -> bool:
    """Whether a text names a file: it has a file's ending, or a folder before it."""
    path = Path(text)
    return " " not in text and (path.suffix in (".json", ".jsonl", ".csv") or len(path.parts) > 1)


def check_keys(table: Mapping[str, Any], known: Mapping[str, Any] | list[str]) -> None:
    """Refuse the first key that is not known, with the near ones."""
    for key in table:
        if key not in known:
            near = get_close_matches(key.lower().replace("-", "_"), known, n=3, cutoff=0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else ""
            few = ", ".join(known) if len(known) <= 8 else f"one of {len(known)} keys"
            raise UnknownName(key, given="an unknown key", expected=few, remedy=remedy)


def check_field(owner: Any, name: str, where: str) -> None:
    """Refuse a name that is no field of ``owner``, which stands at ``where``."""
    if not is_dataclass(owner) or isinstance(owner, type):
        raise InputError(f"field {where}.{name}", given="a value without fields before it", expected="a field's path")
    names = [field.name for field in fields(owner)]
    if name not in names:
        raise UnknownName.among(f"field of {type(owner).__name__}", name, names)


@contextmanager
def told_from(owner: str) -> Iterator[None]:
    """Errors of what is inside name their owner; those of a file already name the file."""
    try:
        yield
    except FileError:
        raise
    except InputError as error:
        raise error.within(owner) from None


def _numbers(what: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.replace(",", " ").split())
    except ValueError:
        raise InputError(what, given=repr(text), expected="numbers such as 0.2,0.8") from None


def _given(value: Any) -> str:
    return "nothing" if value is None else repr(value)


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
