"""One step of training in closed form: arithmetic alone, with bubble and communication, with jitter and stragglers.

=====  ===================================================================================================
order  step time
=====  ===================================================================================================
0      ``model FLOPs / (peak compute_efficiency)``: the work of the model, perfectly parallel
1      ``pipeline + exposed gradients + optimiser + gathered weights``, means only. The pipeline is
       ``sum (f+b) + (m-1) max (f+b) + 2 (p-1) send`` with 1f1b; gpipe has its two maxima apart; interleaved
       ``m S + sum of the first p-1 (f+b) + 2 (p v - 1) send``, ``S`` the most that a stage has in all its chunks
2      the longest path through all passes, in mean and spread (``critical_path``), the greatest over the replicas;
       without jitter this is the simulation to the last digits
=====  ===================================================================================================

Order 1 is exact for gpipe. For 1f1b it is exact where the last stage is the slowest and, from each stage ``i`` on, the
way to it and back takes no longer than ``p - i`` of its passes both ways: only ``p - i`` microbatches are in flight
there, so that slower sends hold up the next one (1 to 3 % of a step at 5 % of a pass). For interleaved it is exact
where chunks are identical except for a shorter first and a longer last one, nothing has to be sent round the replicas,
and a send takes no longer than a pass. A slow stage before the last hides some of its work in the bubble, and
gradients of a stage behind the first may be sent last. An estimate says which of these fails.

Orders 0 and 1 know no jitter: under it their times are bounds from below (1 to 10 % at an scv of 0.04 to 0.06), and
a bubble may be half of what it is. Order 2 is then good to 1 % of a step's time, 2 % of its 99th percentile, 0.01
of the pipeline's time in the bubble: a small bubble is known no better than that, and is said to be out of its domain.

Replicas are identical and independent except for their ``slow_ranks``; a step waits for the slowest,
``E[max] = integral of 1 - product of Phi((t - mean_r)/sd_r)``.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np

from secondorder.analytic.arguments import Floats
from secondorder.analytic.collectives.alpha_beta import reduce_scatter, ring_all_reduce
from secondorder.analytic.collectives.bubble import bubble_fraction
from secondorder.analytic.collectives.overlap import exposed
from secondorder.analytic.critical_path import Durations, ends, greatest
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung, Standing, approximation, bound
from secondorder.errors import InputError
from secondorder.laws import Service
from secondorder.quantities import counted
from secondorder.scenarios.training_step import Message, Parts, TrainingStep

LARGEST_SCV = 0.05
"""Largest scv of the jitter at which the critical path keeps what order 2 promises (``test_training_step.py``)."""
BUBBLE_ERROR, LARGEST_BUBBLE_ERROR = 0.01, 0.1
"""Error of order 2 under jitter: a share of the pipeline's time, and the largest share of the bubble that it may be."""


def solve_step(scenario: TrainingStep) -> Answer:
    """The ladder of each metric of a step: time, utilisation, tokens a second, bubble, communication, memory.

    ``step_time_mean``, ``step_time_p99`` and ``exposed_communication`` in s (by how much the step would be shorter if
    communication took no time); ``mfu`` the share of the peak that goes into the model's own arithmetic;
    ``throughput`` in token/s; ``bubble_fraction`` the share of the pipeline's time in which a stage idles (order 0:
    if stages are equal and nothing is sent); ``memory`` in byte, of the fullest accelerator.
    """
    parts, jittered = scenario.parts, scenario.jitter is not None
    first = _FirstOrder(parts, float(scenario.slowness.max()))
    means = [ideal_step(scenario), first.seconds]
    texts = ["arithmetic alone", "pipeline and exposed communication"]
    paths, why = _paths_of(scenario)
    if paths is not None:
        means.append(paths.mean)
        texts.append("critical path of the slowest replica")
    doubts = ["", _without_jitter(first.doubt) if jittered else first.doubt, why]
    claims = [Claim.BOUND, Claim.BOUND if jittered else Claim.APPROXIMATION, Claim.APPROXIMATION]

    def estimate(metric: str, order: int, amount: float, unit: str, outside: str = "") -> Rung:
        return Rung(
            metric=metric,
            amount=amount,
            unit=unit,
            source=texts[order],
            order=order,
            claim=claims[order],
            outside=outside or doubts[order],
        )

    rows = [estimate("step_time_mean", order, mean, "s") for order, mean in enumerate(means)]
    if paths is not None:
        rows.append(estimate("step_time_p99", 2, paths.quantile(0.99), "s"))
    for order, mean in enumerate(means):
        rows.append(estimate("mfu", order, scenario.model_flops_utilisation(mean), ""))
    rows += [estimate("throughput", order, scenario.job.tokens / mean, "token/s") for order, mean in enumerate(means)]
    bubbles = _bubbles(scenario, paths, why)
    quiet = first_order_step(scenario, parts.silent())
    rows.append(estimate("exposed_communication", 0, 0.0, "s"))
    hidden = "no jitter" if jittered else ""
    rows.append(estimate("exposed_communication", 1, means[1] - quiet, "s", hidden))
    if paths is not None:
        silent = _Paths(scenario, parts.silent())
        rows.append(estimate("exposed_communication", 2, paths.mean - silent.mean, "s"))
    memory = Rung(
        metric="memory",
        amount=scenario.memory.total,
        unit="byte",
        source="Korthikanti 2022, ZeRO",
        order=1,
        claim=Claim.APPROXIMATION,
        note=str(scenario.memory),
    )
    pipelines = f"{counted(parts.replicas, 'replica')} of {counted(parts.stages, 'stage')}"
    how = f"{pipelines}, {counted(parts.microbatches, 'microbatch')}, {parts.schedule}"
    return Answer(scenario=scenario.name, estimates=(*rows, *bubbles, memory), how=how)


def _without_jitter(doubt: str) -> str:
    """Why a formula that knows no jitter is outside its domain."""
    return f"no jitter; {doubt}" if doubt else "no jitter"


def _still(doubt: str) -> Standing:
    """Of a formula that knows no jitter: a bound, unless something else stands against it."""
    return approximation(outside=_without_jitter(doubt)) if doubt else bound(outside=_without_jitter(doubt))


def _bubbles(scenario: TrainingStep, paths: "_Paths | None", why: str) -> Iterator[Rung]:
    """That of equal stages, that of the means, and that along the critical path: each is idle time by pipeline time."""
    parts = scenario.parts
    noisy = scenario.jitter is not None and parts.stages > 1
    factors, counts = np.unique(scenario.slowness, return_counts=True)
    kinds = [_FirstOrder(parts, float(factor)) for factor in factors]
    equal = bubble_fraction(
        stages=parts.stages, microbatches=parts.microbatches, schedule=parts.schedule, interleaving=parts.interleaving
    )
    idle = float(np.average([kind.idle for kind in kinds], weights=counts))
    rows = [
        (float(equal), "equal stages", max(kind.uneven for kind in kinds)),
        (idle, "idle time of the first-order pipeline", max(kind.held_up for kind in kinds)),
    ]
    for order, (amount, source, doubt) in enumerate(rows):
        standing = _still(doubt) if noisy else approximation(outside=doubt)
        yield _bubble(order, amount, source, standing)
    if paths is not None:
        standing = _known_to(paths.idle) if noisy and not why else approximation(outside=why)
        yield _bubble(2, paths.idle, "critical path of the slowest replica", standing)


def _bubble(order: int, amount: float, source: str, standing: Standing) -> Rung:
    return Rung(
        metric="bubble_fraction",
        amount=amount,
        unit="",
        source=source,
        order=order,
        claim=standing.claim,
        outside=standing.outside,
        note=standing.note,
    )


def _known_to(idle: float) -> Standing:
    """How well order 2 knows an idle share under jitter."""
    note = f"to {BUBBLE_ERROR:g} of the pipeline's time"
    if idle * LARGEST_BUBBLE_ERROR >= BUBBLE_ERROR:
        return approximation(note)
    return approximation(outside=f"known {note}, more than {100 * LARGEST_BUBBLE_ERROR:g} % of so small a bubble")


def mean_step(scenario: TrainingStep) -> float:
    """The best closed form of the mean time of a step, in s: order 2, or order 1 where a jitter has no variance.

    *Exact* without jitter. *Source*: Clark 1961, for the jitter.
    """
    paths, _ = _paths_of(scenario)
    return first_order_step(scenario) if paths is None else paths.mean


def ideal_step(scenario: TrainingStep) -> float:
    """Order 0, in s: ``model FLOPs / (peak of all accelerators x compute_efficiency)``."""
    return scenario.job.model_flops / (scenario.peak * scenario.compute_efficiency)


def first_order_step(scenario: TrainingStep, parts: Parts | None = None) -> float:
    """Order 1, in s: means only, the slowest replica's; see the module for where it is exact."""
    parts = scenario.parts if parts is None else parts
    return _FirstOrder(parts, float(scenario.slowness.max())).seconds


class _FirstOrder:
    """Means of the passes of a replica, chunk by chunk, and what they add up to."""

    def __init__(self, parts: Parts, slow: float) -> None:
        self.parts = parts
        self.forward = np.maximum(parts.forward * slow + parts.forward_exchange, parts.forward_floor)
        behind = parts.backward * slow + parts.backward_exchange
        self.backward, self.last = np.maximum(behind, parts.backward_floor), np.maximum(behind, parts.last_floor)
        self.added = _added(parts, self.last)

    @property
    def both(self) -> Floats:
        """Forward and backward of one microbatch on each chunk."""
        found: Floats = self.forward + self.backward
        return found

    @property
    def stage(self) -> Floats:
        """The same on each stage, all its chunks."""
        found: Floats = self.both.reshape(self.parts.interleaving, self.parts.stages).sum(axis=0)
        return found

    @property
    def pipeline(self) -> float:
        """Until the first chunk's last backward pass has ended."""
        parts, m = self.parts, self.parts.microbatches
        through = float((self.forward + self.last).sum()) + 2 * (len(self.both) - 1) * parts.send
        match parts.schedule:
            case "gpipe":
                return through + (m - 1) * float(self.forward.max() + self.backward.max())
            case "1f1b":
                return through + (m - 1) * float(self.both.max())
        ahead = float(self.both[: parts.stages - 1].sum())
        return m * float(self.stage.max()) + ahead + 2 * (len(self.both) - 1) * parts.send

    @property
    def sent(self) -> Floats:
        """Until each chunk's gradients are sent: its last pass ends before those of the chunks in front of it."""
        behind = self.last + self.parts.send
        found: Floats = self.pipeline - (behind.cumsum() - behind) + self.added
        return found

    @property
    def seconds(self) -> float:
        """The step."""
        return float(self.sent.max()) + _after(self.parts)

    @property
    def idle(self) -> float:
        """The share of the pipeline's time in which its stages idle."""
        busy = float((self.parts.microbatches * self.both + self.last - self.backward).sum())
        return max(1 - busy / self.parts.stages / self.pipeline, 0.0)

    @property
    def doubt(self) -> str:
        """Why the step need not be exact; nothing where it is."""
        parts = self.parts
        if parts.stages == 1:
            return ""
        if self.sent.max() > self.sent[0] * (1 + 1e-9) or (parts.interleaving > 1 and self.added.any()):
            return "gradients of a later chunk end last"
        return self.held_up

    @property
    def held_up(self) -> str:
        """Why the pipeline need not be exact; nothing where it is."""
        parts, p, near = self.parts, self.parts.stages, 1 + 1e-9
        if p == 1:
            return ""
        if (self.backward > self.last * near).any():
            return "gradients that go round for every microbatch slow it down"
        if parts.schedule == "gpipe":
            return ""
        if self.stage.max() > self.stage[-1] * near:
            return "a stage before the last is the slowest"
        if parts.schedule == "interleaved":
            if self.both[:-1].max() > self.both[1:-1].min() * near:
                return "chunks take unequal times"
            return "" if parts.send <= self.forward[1:-1].min() else "a send takes longer than a pass"
        ahead = np.arange(p, 0, -1)  # microbatches in flight on each stage
        there_and_back = self.stage[::-1].cumsum()[::-1] + 2 * (ahead - 1) * parts.send
        if (there_and_back > ahead * self.stage[-1] * near).any():
            return "the way to the last stage and back takes longer than the microbatches in flight"
        return ""

    @property
    def uneven(self) -> str:
        """Why the bubble need not be that of equal stages; nothing where it is."""
        parts, near = self.parts, 1 + 1e-9
        if parts.stages == 1:
            return ""
        if self.forward.max() > self.forward.min() * near or self.backward.max() > self.backward.min() * near:
            return "stages take unequal times"
        if (self.backward > self.last * near).any():
            return "the last backward passes are shorter"
        return "sends take time" if parts.send > 0 else ""


# What comes after the passes


def _seconds(message: Message, rounds: int) -> float:
    formula: Callable[..., object] = ring_all_reduce if rounds == 2 else reduce_scatter
    found = formula(ranks=message.ranks, size=message.size, bandwidth=message.bandwidth, latency=message.latency)
    assert isinstance(found, float)
    return found


def _added(parts: Parts, last: Floats) -> Floats:
    """What gradients add after each chunk's last backward pass: its own tail, and all that the link has to carry then.

    The tail is ``max(exposed buckets, floor + all buckets - pass)``: the link is never done before it has carried
    both the pass's own collectives and its gradients. Behind it come the floors and gradients of earlier chunks.
    """
    bucket = np.array(
        [
            sum(_seconds(m._replace(size=m.size / parts.buckets), parts.gradient_rounds) for m in messages)
            for messages in parts.gradients
        ]
    )
    share = np.ones(parts.buckets) / parts.buckets
    tails = np.asarray(exposed(compute=np.outer(last, share), comm=np.outer(bucket, np.ones(parts.buckets))))
    own = parts.last_floor + bucket * parts.buckets
    tails = np.maximum(tails, own - last)
    whole = (own + (parts.stages - 1) * parts.backward_floor).reshape(parts.interleaving, parts.stages)
    found: Floats = tails + (np.cumsum(whole, axis=0) - whole).reshape(-1)
    return found


def _after(parts: Parts) -> float:
    """Optimiser and gathered weights, in s."""
    return parts.optimiser + max(sum(_seconds(m, 1) for m in stage) for stage in parts.weights)


# Order 2


def _paths_of(scenario: TrainingStep) -> tuple["_Paths | None", str]:
    """The critical paths, and in how far they are to be trusted."""
    if scenario.jitter is None:
        return _Paths(scenario, scenario.parts), ""
    try:
        scv = scenario.law("jitter").scv
    except InputError:
        return None, "the jitter has no variance"
    note = f"a jitter of scv {scv:.3g}, above {LARGEST_SCV}" if scv > LARGEST_SCV else ""
    return _Paths(scenario, scenario.parts), note


class _Paths:
    """When the replicas are done: a normal for each kind of replica, and how many of the kind there are."""

    def __init__(self, scenario: TrainingStep, parts: Parts) -> None:
        law = None if scenario.jitter is None else scenario.law("jitter")
        factors, self.counts = np.unique(scenario.slowness, return_counts=True)
        kinds = [_replica(parts, float(factor), law) for factor in factors]
        self.means, variances, idle = (np.array(column) for column in zip(*kinds, strict=True))
        self.sds = np.sqrt(variances)
        self.idle = float(np.average(idle, weights=self.counts))
        self.after = _after(parts)

    @property
    def mean(self) -> float:
        """``after + E[max]``, by Gauss-Legendre quadrature of the distribution function."""
        low, high = self._range()
        if high <= low:
            return self.after + high
        nodes, weights = _gauss()
        t = low + (high - low) * (nodes + 1) / 2
        return float(self.after + high - (high - low) / 2 * (weights * self._distribution(t)).sum())

    def quantile(self, share: float) -> float:
        """Quantile of the step's time in s."""
        low, high = self._range()
        if high <= low:
            return self.after + high
        from scipy.optimize import brentq

        return self.after + float(brentq(lambda t: float(self._distribution(np.array(t))) - share, low, high))

    def _range(self) -> tuple[float, float]:
        """Where the greatest lies, all but 1e-15 of it."""
        return float((self.means - 8 * self.sds).max()), float((self.means + 9 * self.sds).max())

    def _distribution(self, t: Floats) -> Floats:
        """``P(all are done by t)``; a kind without spread is done at its mean, which lies below the range."""
        from scipy.special import log_ndtr

        total = np.zeros(np.shape(t))
        for mean, sd, count in zip(self.means, self.sds, self.counts, strict=True):
            if sd > 0:
                total = total + count * log_ndtr((t - mean) / sd)
        return np.asarray(np.exp(total))


@cache
def _gauss() -> tuple[Floats, Floats]:
    """Nodes and weights on (-1, 1), of 400 places."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    return nodes, weights


def _replica(parts: Parts, factor: float, law: Service | None) -> tuple[float, float, float]:
    """Mean and variance of when a replica's gradients are all sent, and the share of its pipeline that is idle."""
    pair = partial(_moments, factor=factor, law=law)
    forward = pair(parts.forward, parts.forward_exchange, parts.forward_floor)
    backward = pair(parts.backward, parts.backward_exchange, parts.backward_floor)
    last = pair(parts.backward, parts.backward_exchange, parts.last_floor)
    mean, covariance = ends(
        durations=Durations(forward, backward, last),
        send=parts.send,
        stages=parts.stages,
        microbatches=parts.microbatches,
        schedule=parts.schedule,
        interleaving=parts.interleaving,
    )
    top, variance = greatest(mean + _added(parts, last[0]), covariance)
    busy = (parts.microbatches * (forward[0] + backward[0]) + last[0] - backward[0]).sum()
    idle = 1 - float(busy) / parts.stages / greatest(mean, covariance)[0] if parts.stages > 1 else 0.0
    return top, variance, max(idle, 0.0)


def _moments(
    compute: Floats, exchange: Floats, floor: Floats, *, factor: float, law: Service | None
) -> tuple[Floats, Floats]:
    """Mean and variance of ``max(factor compute J + exchange, floor)`` for the jitter ``J``, chunk by chunk."""
    work = factor * compute
    if law is None:
        return np.maximum(work + exchange, floor), np.zeros_like(work)
    mean, variance = work + exchange, work**2 * law.scv
    for k in np.flatnonzero(floor > exchange):
        if work[k] == 0:
            mean[k] = floor[k]
            continue
        least = (floor[k] - exchange[k]) / work[k]
        over = float(law.excess(least))
        mean[k] = floor[k] + work[k] * over
        variance[k] = work[k] ** 2 * max(_squared_excess(law, float(least)) - over**2, 0.0)
    return mean, variance


def _squared_excess(law: Service, least: float) -> float:
    """``E[max(J - least, 0)^2] = 2 integral of the excess from least on``."""
    from scipy.integrate import quad

    spread = max(law.scv, 1e-6) ** 0.5
    cuts = [least, max(least, 1 + 3 * spread), max(least, 1 + 30 * spread), np.inf]
    pieces = [quad(lambda t: float(law.excess(t)), a, b)[0] for a, b in zip(cuts, cuts[1:]) if b > a]  # noqa: B905, RUF007
    return 2 * float(sum(pieces))
