"""From replications to an answer: warm-up, Student intervals, and how they were obtained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import QUEUE
from secondorder.answers.estimate import Estimate, Steadiness
from secondorder.answers.metric import QUANTILES, metric_of, unit_of
from secondorder.errors import InputError
from secondorder.quantities import pretty, si
from secondorder.scenarios.queue import (
    BatchService,
    Bulk,
    Closed,
    FirstCome,
    JoinShortest,
    Patience,
    ProcessorSharing,
    Queue,
    Shared,
)
from secondorder.simulate.queues.measures import measure, over_time
from secondorder.simulate.queues.records import Floats, Run
from secondorder.simulate.queues.run import Path, is_fast, run
from secondorder.simulate.queues.source import QueueSource
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.batch_means import correlation_time
from secondorder.simulate.statistics.estimates import JUMP, SURE, Doubt, short_of
from secondorder.simulate.statistics.histogram import Histogram, histogram
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.procedure import two_starts
from secondorder.simulate.statistics.quantiles import Quantile, quantile_interval
from secondorder.simulate.statistics.run_length import recommended_length
from secondorder.workloads.arrivals import MarkovModulated, TraceArrivals

FEW_FOR_A_MEAN, FEW_FOR_A_TAIL = 100, 300
"""Relaxation times to keep: with fewer, the intervals of means, and of p90 and p99, miss the truth too often."""

RELAXATIONS = 5
"""Relaxation times that the empty start is given to be forgotten: what is left of it is below exp(-5)."""

HELD = 1_000_000
"""Customers of a replication up to which all runs are kept; longer ones are measured one after another."""

FIRST_LENGTH, LONGEST, LONGEST_BY_EVENTS = 20_000, 3_000_000, 200_000
"""Customers of a replication at first, and at most: where each costs well under a microsecond, and by events."""
WANTED = 0.02
"""Relative half-width of the mean response for which the length is chosen, when none is given."""

T = TypeVar("T")


def replicate(
    queue: Queue,
    *,
    seed: int = 0,
    replications: int = 10,
    customers: int,
    jobs: int = 1,
    first: int = 0,
    path: Path | None = None,
) -> list[Run]:
    """Replications ``first, first + 1, ...`` of this many customers, each from streams of its own.

    The draws of a replication do not depend on how many there are, nor on ``jobs`` (processes).
    Errors: those of ``run``.

    >>> queue = Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    >>> [round(float(each.wait.mean()), 3) for each in replicate(queue, replications=2, customers=1000)]
    [0.371, 0.308]
    """
    return replicated(
        lambda k: run(queue, customers, seed=seed, replication=k, path=path), replications, jobs, first=first
    )


# Warm-up


def warm_up(queue: Queue) -> int:
    """Customers that come in five relaxation times: the least that is cut at the start.

    The relaxation time of M/M/1 is ``1 / (mu (1 - sqrt(rho))^2)``. With ``c`` servers behind one line
    the queue relaxes ``c`` times faster, the customers in service do not; more variable arrivals or
    services stretch it by ``(ca2 + cs2)/2`` (heavy traffic), with the index of dispersion for ``ca2``
    where gaps are correlated.

    *Source*: Morse 1955; Abate and Whitt, Transient behavior of the M/M/1 queue (1987); for a
    finite room the spectral gap of the truncated chain (Takács 1962, chapter 1).

    >>> warm_up(Queue(arrivals="poisson 8 request/s", service="exponential 100 ms"))
    363
    """
    if isinstance(queue.arrival_law, Closed):
        return math.ceil(RELAXATIONS * _closed_rounds(queue, queue.arrival_law))
    return math.ceil(RELAXATIONS * queue.rate * _relaxation(queue))


def _closed_rounds(queue: Queue, closed: Closed) -> float:
    """Visits, at most, while the last customer of a line of all is served and thinks."""
    think, service = closed.law("think").moment(1), queue.mean_service
    fastest = min(queue.servers / service, closed.customers / (think + service))
    return fastest * (think + (closed.customers / queue.servers + 1) * service)


def _relaxation(queue: Queue) -> float:
    """In s."""
    service, rho = queue.mean_service, queue.utilisation
    if isinstance(queue.discipline, BatchService):
        return _batch_relaxation(queue, queue.discipline, rho)
    if isinstance(queue.routing, JoinShortest) and queue.routing.d > 1:
        return _shortest_relaxation(queue, queue.routing.d, rho)
    servers = queue.servers if isinstance(queue.routing, Shared) else 1
    patience = _patience_relaxation(queue.patience, service) if queue.patience else math.inf
    if rho >= 1 and queue.room is None:
        return patience
    room = math.pi / (queue.room + 1) if queue.room is not None else 0.0
    gap = 1 + rho - 2 * math.sqrt(rho) * math.cos(room)
    setup = queue.law("setup").moment(1) if queue.setup is not None else 0.0
    alone = service / (servers * gap) * _spread(queue) + service + setup
    renewed = queue.patience is not None and queue.patience.retries > 0
    return patience if renewed and patience < math.inf else min(alone, patience)


def _spread(queue: Queue) -> float:
    """``(ca2 + cs2)/2``, at least 1; where a law has no variance, 100 stands for it."""
    arrival_law = queue.open_arrivals
    try:
        arrivals = arrival_law.idc if isinstance(arrival_law, MarkovModulated | Bulk) else arrival_law.scv
    except InputError:  # Pareto with a shape of at most 2
        arrivals = math.inf
    return max(1.0, sum(scv if math.isfinite(scv) else 100.0 for scv in (arrivals, queue.service_scv)) / 2)


def _patience_relaxation(patience: Patience, service: float) -> float:
    """Erlang-A forgets at the rate ``min(1/E[S], 1/E[limit])`` at least; each retry begins again."""
    if not patience.withdrawn:
        return math.inf
    backoff = patience.law("backoff").moment(1) if patience.backoff is not None else 0.0
    return max(service, patience.law("limit").moment(1)) * (1 + patience.retries) + patience.retries * backoff


def _shortest_relaxation(queue: Queue, d: int, rho: float) -> float:
    """The relaxation time of all servers pooled, plus that of the supermarket model at its fixed point ``u_k``.

    The latter is the slowest mode of ``du_k/dt = rho (u_{k-1}^d - u_k^d) - (u_k - u_{k+1})``, linearised.
    """
    powers = np.cumsum(float(d) ** np.arange(60))
    u = rho ** powers[rho**powers > 1e-12]
    rising = rho * d * u ** (d - 1)
    modes = np.diag(-rising - 1) + np.diag(rising[:-1], -1) + np.diag(np.ones(len(u) - 1), 1)
    slowest = -float(np.linalg.eigvals(modes).real.max())
    pooled = 1 / (queue.servers * (1 - math.sqrt(rho)) ** 2)
    return queue.mean_service * _spread(queue) * (pooled + 1 / slowest)


def _batch_relaxation(queue: Queue, batch: BatchService, rho: float) -> float:
    """Relaxation time of a diffusion with the drift of full batches; without a largest, of a batch feeding the next."""
    filling = batch.wait_to_fill / queue.rate
    if batch.most is None:
        return batch.seconds(1) / (1 - rho) ** 2 + filling
    full = batch.seconds(batch.most)
    return full * (1 + 2 * rho * _spread(queue) / (batch.most * (1 - rho) ** 2)) + filling


def cut(queue: Queue, runs: Sequence[Run]) -> int:
    """Where the warm-up ends: by MSER-5 over the mean response of the runs, and not before ``warm_up``.

    The series is first averaged into 500 points, so that those far apart are nearly independent, as
    MSER supposes. Where the statistic still falls at half of the run, the answer is past the half.
    """
    count = len(runs[0])
    total, served = np.zeros(count), np.zeros(count)
    for each in runs:
        total += np.nan_to_num(each.response)
        served += ~np.isnan(each.finish)
    mean = total / np.maximum(served, 1)
    batches = min(count, 100)
    width = count // batches
    return max(warm_up(queue), width * _mser(mean[: batches * width].reshape(batches, width).mean(axis=1)))


def _mser(means: Floats) -> int:
    """Batch means to cut: the ``d``, up to half of them, that minimises ``sum_{j > d} (Z_j - mean)^2 / (m - d)^2``.
    Beyond half, too few are left for their spread to be known, and a few that happen to be alike would win. Where the
    minimum is at the half itself, the series has not settled, and all are cut.

    *Source*: White 1997; White, Cobb and Spratt 2000, with the second half left out as Hoad,
    Robinson and Davies (2010) do.

    >>> _mser(np.concatenate([np.linspace(5, 0, 10), np.tile([1.0, -1.0], 45)])), _mser(np.arange(100.0))
    (7, 100)
    """
    left = np.arange(len(means), 0, -1)
    sums, squares = means[::-1].cumsum()[::-1], (means**2)[::-1].cumsum()[::-1]
    spread = ((squares - sums**2 / left) / left**2)[: len(means) // 2 + 1]
    least = int(np.argmin(spread))
    return least if least < len(means) // 2 else len(means)


def after(queue: Queue, customers: int, cut: int) -> tuple[int, int]:
    """Which customers to measure: those past the cut, without those at the end whom later arrivals would have affected.

    In order of arrival nobody is delayed by those who come later; elsewhere as many are left out
    at the end as the empty start takes.
    """
    in_order = isinstance(queue.discipline, FirstCome) and not isinstance(queue.arrival_law, Closed)
    return cut, customers - (0 if in_order else warm_up(queue))


# From runs to an answer


def simulate_queue(
    queue: Queue, *, seed: int = 0, replications: int = 10, requests: int | None = None, jobs: int = 1
) -> Answer:
    """Independent replications of a queue, with Student intervals at 95 %.

    ``requests`` is the number of customers of each; if not given it is doubled until the mean
    response is known within 2 % (or 3,000,000 are reached; 200,000 where every event is simulated).
    The warm-up is cut (see ``cut``); where that takes half of a run, the answer is of the transient,
    and says that there was not enough data and how many customers would do; its intervals are then
    infinite. A replayed trace, or an outage, is a transient as it stands: nothing is cut. ``jobs``
    processes share the replications.

    Errors: ``Unstable`` where the queue would grow without limit, ``InputError``.
    """
    if replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    if requests is not None and requests < 2:
        raise InputError("requests", given=requests, expected="at least 2 of each replication")
    if queue.transient:
        return _transient(queue, seed, replications, requests, jobs)
    queue.check_stable()
    longest = LONGEST if is_fast(queue) else LONGEST_BY_EVENTS
    length = requests or min(max(FIRST_LENGTH, _recommended(queue)), longest)
    while True:
        answer = _steady(queue, seed, replications, length, jobs)
        if requests is not None or length >= longest or _is_known(answer):
            return answer
        length = min(2 * length, longest)


def _recommended(queue: Queue) -> int:
    """Customers of a replication for which the intervals keep their confidence (``output.recommended_length``)."""
    return recommended_length(relaxation=warm_up(queue) / RELAXATIONS).customers


def _is_known(answer: Answer) -> bool:
    response = answer.best("response_mean")
    assert response.high is not None
    return response.steady and response.high - response.amount <= WANTED * response.amount


def _steady(queue: Queue, seed: int, replications: int, length: int, jobs: int) -> Answer:
    runs = replicate(queue, seed=seed, replications=replications, customers=min(length, HELD), jobs=jobs)
    if states := _two_states(queue, seed, min(length, HELD)):
        how = f"simulated, {states.steadiness}: {replications} replications of {length:,} requests, nothing cut"
        return _answer(queue, [measured(queue, each) for each in runs], how, runs[0], states, states)
    start, end = after(queue, length, cut(queue, runs))
    if short := start > length / 2 or end - start < length / 4:
        needed = 4 * warm_up(queue)
        why = f"the warm-up takes half of {length:,} requests; use at least {max(needed, 2 * length):,}"
        start, end = 0, length
    if length > HELD:

        def one(k: int) -> Measured:
            return measured(queue, run(queue, length, seed=seed, replication=k), start, end)

        values = replicated(one, replications, jobs)
    else:
        values = [measured(queue, r, start, end) for r in runs]
    how = f"{replications} replications of {length:,} requests"
    if short:
        how = f"simulated, transient: {how}, nothing cut"
    else:
        end_cut = f" and the last {length - end:,} as the end" if end < length else ""
        how = f"simulated, steady state: {how}, the first {start:,} cut as warm-up{end_cut}"
    if short:
        return _answer(queue, values, how, runs[0], short_of(why), short_of(why))
    times = (end - start) * RELAXATIONS / warm_up(queue)
    scarce = f"{pretty(times, '')} relaxation times; use at least {_recommended(queue):,} requests"
    of_means, of_tails = (short_of(scarce if times < few else "") for few in (FEW_FOR_A_MEAN, FEW_FOR_A_TAIL))
    return _answer(queue, values, how, runs[0], of_means, of_tails)


def _two_states(queue: Queue, seed: int, length: int) -> Doubt | None:
    """What is seen of a queue whose retries keep the servers busy, once they have started, with discarded work."""
    patience = queue.patience
    if patience is None or patience.withdrawn or queue.utilisation * (1 + patience.retries) < 1:
        return None
    starts = two_starts(QueueSource(queue, seed), length)
    relaxation = max(correlation_time(starts.empty), warm_up(queue) / RELAXATIONS)
    if starts.met(relaxation):
        return None
    load = queue.utilisation * (1 + patience.retries)
    kind = Steadiness.TWO_STATES if starts.stays_flooded else Steadiness.TRANSIENT
    return Doubt(kind, f"{starts.apart}; with every retry the load is {load:.3g}")


def _transient(queue: Queue, seed: int, replications: int, requests: int | None, jobs: int) -> Answer:
    length = requests or _story(queue)
    if isinstance(queue.arrival_law, TraceArrivals):
        length = min(length, len(queue.arrival_law))
    runs = replicate(queue, seed=seed, replications=replications, customers=length, jobs=jobs)
    values = [measured(queue, r) for r in runs]
    how = f"simulated, transient: {replications} replications of {length:,} requests, nothing cut"
    return _answer(queue, values, how, runs[0])


def _story(queue: Queue) -> int:
    """Customers until an outage should be forgotten: twice the time that its backlog takes to drain."""
    if isinstance(queue.arrival_law, TraceArrivals):
        return len(queue.arrival_law)
    queue.check_stable()
    assert queue.outage is not None
    rho = min(queue.utilisation, 0.95)
    down = si(queue.outage.duration)
    return math.ceil(queue.rate * (si(queue.outage.begin) + down + 2 * down * rho / (1 - rho)))


@dataclass(frozen=True)
class Measured:
    """What one run gives: its metrics, and the laws of its waits and responses."""

    metrics: Mapping[str, float]
    laws: Mapping[str, Histogram]


def measured(queue: Queue, run: Run, start: int = 0, end: int | None = None) -> Measured:
    """The metrics of the customers ``start`` to ``end``, and the laws of their waits and responses."""
    metrics = measure(queue, run, start, end)
    values = {"wait": run.wait[start:end], "response": run.response[start:end]}
    return Measured(metrics, {name: histogram(each) for name, each in values.items() if f"{name}_p50" in metrics})


def _answer(
    queue: Queue, values: Sequence[Measured], how: str, shown: Run, of_means: Doubt = SURE, of_tails: Doubt = SURE
) -> Answer:
    """The estimates; ``of_means`` and ``of_tails`` say why nothing may be concluded from them, if that is so."""
    import pandas as pd

    estimates = [
        _estimate(
            queue,
            metric,
            _known(values, metric),
            of_tails if metric.endswith(("_p90", "_p99")) else of_means,
        )
        for metric in values[0].metrics
    ]
    series = pd.DataFrame(over_time(shown)) if queue.transient else None
    return Answer(scenario=queue.name, estimates=tuple(estimates), how=how, requests=shown.frame, series=series)


def _known(values: Sequence[Measured], metric: str) -> Quantile:
    """A quantile of all runs together, or the mean of what each run gives."""
    name, _, statistic = metric.rpartition("_")
    if name in values[0].laws and statistic in QUANTILES:
        return quantile_interval([each.laws[name] for each in values], QUANTILES[statistic])
    return Quantile(student([each.metrics[metric] for each in values if metric in each.metrics]))


def _estimate(queue: Queue, metric: str, known: Quantile, doubt: Doubt) -> Estimate:
    """An estimate; with an interval that says nothing, where nothing may be concluded."""
    heavy = _doubt(queue, metric)
    doubt = short_of(heavy) if heavy else doubt
    jump = short_of(JUMP if known.jump else "")
    interval = known.interval
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=unit_of(QUEUE, metric),
        source="simulated",
        low=interval.low if doubt.steady else -math.inf,
        high=interval.high if doubt.steady else math.inf,
        steadiness=doubt.steadiness if not doubt.steady else jump.steadiness,
        unsettled=doubt.why or jump.why,
    )


def _doubt(queue: Queue, metric: str) -> str:
    """Why no run is long enough for this metric."""
    waits = metric_of(QUEUE, metric).name in ("wait", "response", "number", "queue")
    insensitive = isinstance(queue.discipline, ProcessorSharing) or queue.room is not None
    if waits and math.isinf(queue.service_scv) and not insensitive:
        return "the service has no variance, so the mean may be infinite and no interval holds"
    return ""
