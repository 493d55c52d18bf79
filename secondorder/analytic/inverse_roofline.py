"""The roofline inverted: the hardware, the batch or the efficiency that a latency or a throughput requires.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> llama = models.llama_3_1_8b
>>> need = required(llama, latency="5 ms", precision="bf16", input_tokens=1, context_tokens=2048)
>>> round(need.bandwidth / 1e12, 2), round(need.peak / 1e12, 1)
(3.26, 3.4)

Options besides the objective are those of ``roofline``, and mean the same; a batch size or a length is one number.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict, Unpack

from secondorder.analytic.roofline import RooflineAnswer, RooflineOptions, roofline
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Rung, rung
from secondorder.errors import DoesNotFit, InfeasibleError, InputError
from secondorder.fleets.accelerators import Accelerator, accelerators
from secondorder.quantities import Quantity, Unit, pretty, si
from secondorder.scenarios.inverse_roofline import InverseRoofline
from secondorder.workloads.forward_pass import Work, forward_pass
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer

Model = Transformer | Network
Objective = Quantity | str
LARGEST_BATCH = 2**40
_EFFICIENCIES = ("compute_efficiency", "memory_efficiency")


@dataclass(frozen=True, kw_only=True)
class Required:
    """The least that an accelerator needs to meet an objective: ``peak`` in FLOP/s, ``bandwidth`` in byte/s,
    ``capacity`` in byte.

    Each is needed, and all three together are enough. ``latency`` (s) is the most that a pass may take.
    """

    latency: float
    peak: float
    bandwidth: float
    capacity: float


class _Asked(TypedDict):
    """What ``required`` and ``candidates`` are both given of a scenario."""

    latency: Objective | None
    throughput: Objective | None
    batch_size: int
    precision: str
    compute_efficiency: float
    memory_efficiency: float
    kernel_overhead: Quantity | str


def required(
    model: Model,
    *,
    latency: Objective | None = None,
    throughput: Objective | None = None,
    batch_size: int = 1,
    precision: str = "fp16",
    kernel_overhead: Quantity | str = "10 µs",
    compute_efficiency: float = 1.0,
    memory_efficiency: float = 1.0,
    **work: Unpack[Work],
) -> Required:
    """The peak, bandwidth and capacity that a pass needs to meet ``latency``, or ``throughput``, at this batch size.

    ``peak = FLOPs/(e_c (T - overhead))``, ``bandwidth = bytes/(e_m (T - overhead))``, ``T`` the latency, or
    ``batch_size/throughput``. *Exact* inverse of ``roofline``. Errors: ``InfeasibleError`` where the overhead alone
    takes as long, ``InputError``.
    """
    most = _most(latency, throughput, batch_size)
    count = forward_pass(model, batch_size=batch_size, precision=precision, **work)
    overhead = count.layers * si(Unit("s").read(kernel_overhead, "kernel_overhead"))
    if most <= overhead:
        raise InfeasibleError(
            f"{model.name} in {pretty(most, 's')}: its {count.layers} layers' overhead alone takes "
            f"{pretty(overhead, 's')} on any accelerator; use a larger objective, or a smaller kernel_overhead"
        )
    left = most - overhead
    return Required(
        latency=most,
        peak=float(count.flops) / left / compute_efficiency,
        bandwidth=float(count.bytes) / left / memory_efficiency,
        capacity=float(count.footprint),
    )


def largest_batch(
    model: Model, accelerator: Accelerator, *, latency: Objective, **options: Unpack[RooflineOptions]
) -> RooflineAnswer:
    """The pass of the largest batch that fits and takes at most ``latency``.

    *Exact*: the latency never falls as the batch grows. Errors: ``InfeasibleError`` where a batch of 1 takes longer,
    ``DoesNotFit``, ``InputError``.

    >>> from secondorder.workloads.models import models
    >>> largest_batch(models.resnet50, accelerators.a100_80gb, latency="5 ms").batch_size
    171
    """
    most = _latency(latency)
    alone = roofline(model, accelerator, batch_size=1, **options)
    if alone.latency > most:
        raise InfeasibleError(
            f"{model.name} on {accelerator.name} in {pretty(most, 's')}: a batch of 1 takes "
            f"{pretty(float(alone.latency), 's')}, bound by {alone.bottleneck}"
        )
    return _last(lambda batch: _fitting(model, accelerator, batch, options), lambda found: bool(found.latency <= most))


def smallest_batch(
    model: Model, accelerator: Accelerator, *, throughput: Objective, **options: Unpack[RooflineOptions]
) -> RooflineAnswer:
    """The pass of the smallest batch that serves ``throughput``, in inputs (samples) a second.

    *Exact*: the throughput never falls as the batch grows. Errors: ``InfeasibleError``, which tells the most that the
    part reaches, ``DoesNotFit``, ``InputError``.

    >>> from secondorder.workloads.models import models
    >>> smallest_batch(models.resnet50, accelerators.a100_80gb, throughput="10_000 sample/s").batch_size
    7
    """
    least = _throughput(throughput)
    best = _last(lambda batch: _fitting(model, accelerator, batch, options), lambda found: True)
    if best.throughput < least:
        raise InfeasibleError(
            f"{model.name} on {accelerator.name} at {least:.6g} sample/s: the largest batch that fits, "
            f"{best.batch_size:,}, reaches {float(best.throughput):.6g}, bound by {best.bottleneck}"
        )
    low, high = 0, int(best.batch_size)
    while high - low > 1:
        middle = (low + high) // 2
        found = roofline(model, accelerator, batch_size=middle, **options)
        low, high = (low, middle) if found.throughput >= least else (middle, high)
    return roofline(model, accelerator, batch_size=high, **options)


def implied_efficiency(
    model: Model,
    accelerator: Accelerator,
    *,
    latency: Objective,
    batch_size: int = 1,
    **options: Unpack[RooflineOptions],
) -> float:
    """The efficiency of both arithmetic and memory at which the roofline meets a (measured) ``latency``.

    ``e = max(FLOPs/peak, bytes/bandwidth) / (T - overhead)``. *Exact* inverse of ``roofline``. Errors:
    ``InfeasibleError`` where ``e`` would be above 1: the datasheet does not allow it, ``DoesNotFit``, ``InputError``.

    >>> from secondorder.workloads.models import models
    >>> llama = {"precision": "bf16", "input_tokens": 1}
    >>> implied_efficiency(models.llama_3_1_8b, accelerators.h100_sxm, latency="0.8 ms", **llama)
    Traceback (most recent call last):
    secondorder.errors.InfeasibleError: Llama 3.1 8B on NVIDIA H100 SXM in 800 µs: the datasheet allows 4.8 ms,
    bound by memory
    """
    for name in _EFFICIENCIES:
        if name in options:
            raise InputError(name, given=options.get(name), expected="none: the answer gives it")
    found, most = roofline(model, accelerator, batch_size=batch_size, **options), _latency(latency)
    if found.latency > most:
        raise InfeasibleError(
            f"{model.name} on {accelerator.name} in {pretty(most, 's')}: the datasheet allows "
            f"{pretty(float(found.latency), 's')}, bound by {found.bottleneck}"
        )
    return float(max(found.compute, found.memory) / (most - found.overhead))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An accelerator against an objective: its pass where there is one, and in ``why`` the reason if it fails."""

    accelerator: Accelerator
    answer: RooflineAnswer | None
    why: str = ""

    @property
    def meets(self) -> bool:
        return not self.why


def candidates(
    model: Model,
    among: Mapping[str, Accelerator] | Iterable[Accelerator] | None = None,
    *,
    latency: Objective | None = None,
    throughput: Objective | None = None,
    batch_size: int = 1,
    **options: Unpack[RooflineOptions],
) -> tuple[Candidate, ...]:
    """Each accelerator of the zoo (or of ``among``) against an objective at this batch size; those that meet it come
    first.

    In each group the fastest first; then those that lack the precision or the memory. Errors: ``InputError``.

    >>> from secondorder.workloads.models import models
    >>> llama = {"precision": "bf16", "input_tokens": 1, "context_tokens": 2048}
    >>> parts = [accelerators.t4, accelerators.a100_80gb, accelerators.h100_sxm]
    >>> [(c.accelerator.name, c.why) for c in candidates(models.llama_3_1_8b, parts, latency="5 ms", **llama)]
    [('NVIDIA H100 SXM', ''), ('NVIDIA A100 80GB SXM', 'takes 7.81 ms, bound by memory'), ('NVIDIA T4', 'has no bf16')]
    """
    most = _most(latency, throughput, batch_size)
    parts = accelerators if among is None else among
    values = (part for _, part in parts.items()) if hasattr(parts, "items") else parts
    found = [_candidate(model, part, most, batch_size, options) for part in values]
    return tuple(sorted(found, key=lambda c: (bool(c.why), float(c.answer.latency) if c.answer else float("inf"))))


def _candidate(model: Model, part: Accelerator, most: float, batch: int, options: RooflineOptions) -> Candidate:
    precision = options.get("precision", "fp16")
    if precision not in part.peak:
        return Candidate(accelerator=part, answer=None, why=f"has no {precision}")
    try:
        answer = roofline(model, part, batch_size=batch, **options)
    except DoesNotFit as error:
        return Candidate(accelerator=part, answer=None, why=str(error))
    late = f"takes {pretty(float(answer.latency), 's')}, bound by {answer.bottleneck}"
    return Candidate(accelerator=part, answer=answer, why=late if answer.latency > most else "")


def _fitting(model: Model, accelerator: Accelerator, batch: int, options: RooflineOptions) -> RooflineAnswer | None:
    try:
        return roofline(model, accelerator, batch_size=batch, **options)
    except DoesNotFit:
        if batch == 1:
            raise
        return None


def _last(at: Callable[[int], RooflineAnswer | None], good: Callable[[RooflineAnswer], bool]) -> RooflineAnswer:
    """The largest batch that fits and is good, by doubling and halving; a batch of 1 is both."""
    low, high = 1, 2
    while (found := at(high)) is not None and good(found):
        if high >= LARGEST_BATCH:
            raise InputError("batch_size", given="no limit", expected="an accelerator that limits it")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        found = at(middle)
        low, high = (middle, high) if found is not None and good(found) else (low, middle)
    best = at(low)
    assert best is not None
    return best


def _most(latency: Objective | None, throughput: Objective | None, batch_size: int) -> float:
    if (latency is None) == (throughput is None):
        given = "neither" if latency is None else "both"
        raise InputError("objective", given=given, expected="either a latency or a throughput")
    return _latency(latency) if latency is not None else batch_size / _throughput(throughput)


def _latency(value: Objective | None) -> float:
    return si(Unit("s", positive=True).read(value, "latency"))


def _throughput(value: Objective | None) -> float:
    return si(Unit("sample/s", positive=True).read(value, "throughput"))


def solve_inverse_roofline(scenario: InverseRoofline) -> Answer:
    """The peak, bandwidth and memory that the objective requires, and which accelerators of the zoo have them.

    >>> from secondorder.workloads.models import models
    >>> answer = solve_inverse_roofline(InverseRoofline(
    ...     model=models.llama_3_1_8b, precision="bf16", latency="10 ms", input_tokens=1, context_tokens=2048))
    >>> print(answer.best("bandwidth"))
    1.58 TB/s
    """
    work: Work = {}
    if scenario.input_tokens is not None:
        work = {"input_tokens": scenario.input_tokens, "context_tokens": scenario.context_tokens}
    options: _Asked = {
        "latency": scenario.latency,
        "throughput": scenario.throughput,
        "batch_size": scenario.batch_size,
        "precision": scenario.precision,
        "compute_efficiency": scenario.compute_efficiency,
        "memory_efficiency": scenario.memory_efficiency,
        "kernel_overhead": scenario.kernel_overhead,
    }
    need = required(scenario.model, **options, **work)
    found = candidates(scenario.model, **options, **work)
    met = [each.accelerator.name for each in found if each.meets]
    few = ", ".join(met[:3]) + (f" and {len(met) - 3} others" if len(met) > 3 else "")
    amounts = {
        "peak": ("FLOP/s", need.peak),
        "bandwidth": ("byte/s", need.bandwidth),
        "capacity": ("byte", need.capacity),
    }
    return Answer(
        scenario=scenario.name,
        estimates=(
            *(
                _rung(metric, amount, unit, "roofline, solved for the part")
                for metric, (unit, amount) in amounts.items()
            ),
            _rung("parts", float(len(met)), "", "the zoo", ", ".join(met)),
        ),
        how=f"{scenario.model.name} in {pretty(need.latency, 's')}: met by {few or 'no part of the zoo'}",
    )


def _rung(metric: str, amount: float, unit: str, source: str, note: str = "") -> Rung:
    return rung(metric, amount, unit, source, 1, note)
