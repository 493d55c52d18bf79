"""A data loader before an accelerator, in closed form: the slowest part alone, then what variability costs.

=====  ===================================================================================================
order  batches a second
=====  ===================================================================================================
0      ``1 / E[step]``: the accelerator alone, which never starves
1      ``min(1 / read, workers / (read + E[decode]), 1 / E[step])``: no variability, so no starvation where the
       loader is the faster; the ceiling of every law
2      the finite buffer: exact by a Markov chain where all times are exponential, else two moments
=====  ===================================================================================================

``n`` counts the batches made and not yet used up: at the accelerator (1), in the buffer (``prefetch``), held by a
worker who finds the buffer full (``workers``). It moves between 0 (the accelerator starves) and ``N = workers +
prefetch + 1`` (all workers are blocked). Near balance, ``loader rate = step rate``, the accelerator starves a share of
about ``scv / N`` of the time, and no bandwidth helps against it.
"""

import numpy as np

from secondorder.analytic.arguments import (
    Floats,
    Real,
    Whole,
    each,
    non_negative,
    one,
    one_whole,
    plain,
    positive,
    whole,
)
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import DATA_LOADING
from secondorder.answers.estimate import Claim, Rung
from secondorder.answers.metric import unit_of
from secondorder.errors import InputError
from secondorder.laws import Deterministic, Exponential
from secondorder.scenarios.data_loading import DataLoading

LARGEST_SCV, BUSIEST_STORAGE = 1.0, 0.9
"""Largest scv of decoding, steps and reads, and busiest storage, at which two moments are known to be good to 7 %."""
MOST_STATES = 50_000
"""States of a chain with a storage that are solved; beyond them two moments serve."""


def solve_data_loading(scenario: DataLoading) -> Answer:
    """The ladder of each metric of a data loader.

    ``throughput`` in sample/s; ``step_time_mean`` in s from one step to the next, waiting for data included;
    ``starvation`` the share of time in which the accelerator waits for data; ``worker_utilisation`` the share of the
    workers' time in which they decode, ``storage_utilisation`` that in which the storage reads.

    >>> answer = solve_data_loading(DataLoading(
    ...     batch_size=256, sample_size="0 byte", storage_bandwidth="2 GB/s", workers=1, decode="exponential 1 s",
    ...     prefetch=1, step="exponential 1 s"))
    >>> [round(rung.amount, 9) for rung in answer["starvation"]]
    [0.0, 0.0, 0.25]
    """
    step = scenario.law("step").moment(1)
    loader = scenario.loader_rate
    first_note = "" if _constant(scenario) else "times vary: a bound from above"
    slow = "" if loader * step >= 1 else f"storage and workers make {loader * step:.3g} of the batches that it takes"
    first_claim = Claim.BOUND if first_note else Claim.EXACT
    rungs = [
        (0, 1 / step, "the accelerator alone", Claim.BOUND, slow),
        (1, min(loader, 1 / step), f"the slowest part alone: {scenario.bottleneck}", first_claim, first_note),
    ]
    try:
        rungs.append((2, *_second_order(scenario)))
    except InputError as error:  # a time without a variance
        if not error.what.startswith("moment"):
            raise
    rows = ranked(
        Rung(
            metric=metric, amount=amount, unit=unit_of(DATA_LOADING, metric), source=source, order=order, claim=claim,
            outside=outside,
        )
        for order, rate, source, claim, outside in rungs
        for metric, amount in _measures(scenario, rate).items()
    )  # fmt: skip
    balance = loader * step
    made = f"storage and workers alone make {balance:.3g} batches in the time of a step"
    how = f"{made}, buffer of {scenario.prefetch}"
    return Answer(scenario=scenario.name, estimates=rows, how=how)


def ceiling(*, read: Real, decode: Real, workers: Whole, step: Real) -> Real:
    """Batches a second of the slowest part: ``min(1 / read, workers / (read + decode), 1 / step)``.

    *Bound* from above for every law, and exact where nothing varies. ``read`` (0 or more), ``decode`` and ``step`` are
    means in s of a batch, ``workers`` whole; all broadcast. Errors: ``InputError``.
    *Source*: Denning and Buzen, The operational analysis of queueing network models (1978).

    >>> ceiling(read=0.0, decode=0.3, workers=8, step=0.05)
    20.0
    """
    reads, decodes = non_negative("read", read), positive("decode", decode)
    made = whole("workers", workers) / (reads + decodes)
    with np.errstate(divide="ignore"):
        return plain(np.minimum(np.minimum(1 / reads, made), 1 / positive("step", step)))


def buffered_rate(*, decode_rate: Real, workers: Whole, prefetch: Whole, step_rate: Real) -> Real:
    """Batches a second through a buffer, with nothing to read: a birth-death chain of ``N = workers + prefetch + 1``.

    From ``n`` to ``n + 1`` at the rate ``decode_rate min(workers, N - n)``, back at ``step_rate``; the rate through it
    is ``step_rate (1 - p_0)``. With one worker that is ``step_rate rho (1 - rho^N) / (1 - rho^(N+1))``,
    ``rho = decode_rate / step_rate``, and ``N / (N + 1)`` at balance.

    *Exact* where decoding and steps are exponential. Rates in 1/s, of one worker and of the accelerator; ``workers``
    and ``prefetch`` whole; all broadcast. Errors: ``InputError``. *Source*: Buzacott and Shanthikumar, Stochastic
    Models of Manufacturing Systems (1993), section 5.3; Hunt 1956.

    >>> round(buffered_rate(decode_rate=1.0, workers=1, prefetch=1, step_rate=1.0), 9)
    0.75
    """

    def solve(decode: float, count: int, room: int, step: float) -> float:
        free = np.minimum(count, np.arange(count + room + 1, 0, -1))
        return _birth_death(decode * free, step)

    return each(
        solve,
        positive("decode_rate", decode_rate),
        whole("workers", workers),
        whole("prefetch", prefetch),
        positive("step_rate", step_rate),
    )


def stored_rate(*, read_rate: float, decode_rate: float, workers: int, prefetch: int, step_rate: float) -> float:
    """Batches a second with a storage that reads one batch at a time: a chain in (reads asked for, ``n``).

    *Exact* where reads, decodings and steps are exponential. Rates in 1/s of the storage, of one worker and of the
    accelerator; one loader at a time; the sparse system has about ``workers (prefetch + workers)`` unknowns. Errors:
    ``InputError``. *Source*: the balance equations of the chain, solved numerically.

    >>> round(stored_rate(read_rate=1e9, decode_rate=1.0, workers=1, prefetch=1, step_rate=1.0), 6)
    0.75
    """
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import spsolve

    count, room = one_whole("workers", workers), one_whole("prefetch", prefetch)
    read, decode, step = one("read_rate", read_rate), one("decode_rate", decode_rate), one("step_rate", step_rate)
    states = [(i, n) for n in range(count + room + 2) for i in range(count + 1 - max(n - room - 1, 0))]
    place = {state: k for k, state in enumerate(states)}
    rows, columns, rates = [], [], []
    for (i, n), k in place.items():
        held = max(n - room - 1, 0)
        moves = [
            (read * (i > 0), (i - 1, n)),
            (decode * (count - i - held), (i + (n <= room), n + 1)),
            (step * (n > 0), (i + (held > 0), n - 1)),
        ]
        for rate, to in moves:
            if rate > 0:
                rows += [place[to], k]
                columns += [k, k]
                rates += [rate, -rate]
    balance = csc_array((rates, (rows, columns)), shape=(len(states), len(states))).tolil()
    balance[len(states) - 1, :] = 1.0  # in place of one equation, which follows from the others
    right = np.zeros(len(states))
    right[-1] = 1.0
    law = spsolve(balance.tocsc(), right)
    return step * (1 - float(sum(law[place[i, 0]] for i in range(count + 1))))


def two_moment_rate(
    *,
    read: float,
    read_scv: float,
    decode: float,
    decode_scv: float,
    workers: int,
    prefetch: int,
    step: float,
    step_scv: float,
) -> float:
    """Batches a second by two moments of each time: the birth-death chain walked in strides of ``scv``.

    A walk of variance ``scv`` a step between walls ``N`` apart is one of variance 1 between walls ``1 + (N - 1)/scv``
    apart, ``scv = (scv of the loader + step_scv) / 2``. The loader's rate with ``j`` workers not held is that of ``j``
    customers between the storage and their decoding (mean value analysis, the rest of a read under way by its scv);
    its scv is that of the storage and that of decoding, weighed by the storage's utilisation. Where neither reads nor
    decodings vary, workers take turns at the storage and none waits for another: waits there are multiplied by
    ``(1 - (1 - read_scv)(1 - decode_scv))^(1/4)``, each scv at most 1; the exponent was measured.

    *Approximation*, exact for one exponential worker and in the limit of no spread. *Valid when* no scv is above 1 and
    the storage is busy at most 0.9 of the time: then within 7 % of the simulation, else (to scv 4) up to 18 % below it.
    Means in s of a batch, scv without unit, one loader at a time. Errors: ``InputError``.

    *Source*: the scaling is that of the diffusion between two
    walls, Gelenbe, On approximate computer system models (1975); residual read: Reiser, A queueing network analysis of
    computer communication networks with window flow control (1979).

    >>> round(two_moment_rate(read=0.0, read_scv=0.0, decode=1.0, decode_scv=1.0, workers=1, prefetch=1, step=1.0,
    ...     step_scv=1.0), 9)
    0.75
    >>> round(two_moment_rate(read=0.0, read_scv=0.0, decode=1.0, decode_scv=0.0, workers=1, prefetch=1, step=1.0,
    ...     step_scv=0.0), 9)
    1.0
    """
    count, room, pace = one_whole("workers", workers), one_whole("prefetch", prefetch), 1 / one("step", step)
    made = _loader_rates(float(non_negative("read", read)), read_scv, one("decode", decode), decode_scv, count)
    storage = made[-1] * read
    scv = (storage * read_scv + (1 - storage) * decode_scv + step_scv) / 2
    if scv == 0:
        return min(float(made[-1]), pace)
    scv = max(scv, (count + room) / MOST_STATES)  # of less, nothing could be seen
    span = (count + room) / scv

    def rate(strides: int) -> float:
        where = np.concatenate(([0.0], 1 + np.arange(strides) * scv))  # in batches; up from the last lies the wall
        free = np.minimum(count, count + room + 1 - where)
        return _birth_death(np.interp(free, np.arange(count + 1), np.concatenate(([0.0], made))), pace)

    least = int(span)
    low = rate(least)
    return low if span == least else low + (span - least) * (rate(least + 1) - low)


def _loader_rates(read: float, read_scv: float, decode: float, decode_scv: float, workers: int) -> Floats:
    """Batches a second with 1, 2, ..., ``workers`` workers that are never held."""
    rates, number, busy = [], 0.0, 0.0
    met = (1 - (1 - min(read_scv, 1.0)) * (1 - min(decode_scv, 1.0))) ** 0.25
    for j in range(1, workers + 1):
        response = read + met * read * (number - busy + busy * (1 + read_scv) / 2)
        rate = j / (response + decode)
        rate = min(rate, 1 / read) if read else rate
        number, busy = rate * response, rate * read
        rates.append(rate)
    return np.array(rates)


def _birth_death(up: Floats, down: float) -> float:
    """The rate through a chain that goes up from 0, 1, ... at these rates and down at one: ``down (1 - p_0)``."""
    weights = np.concatenate(([0.0], np.cumsum(np.log(up / down))))
    law = np.exp(weights - weights.max())
    return down * float(law[1:].sum() / law.sum())


def _second_order(scenario: DataLoading) -> tuple[float, str, Claim, str]:
    """Batches a second at order 2, their source, what it claims, and which condition fails, if one does."""
    decode, step, read = scenario.law("decode"), scenario.law("step"), scenario.read
    workers, prefetch = scenario.workers, scenario.prefetch
    memoryless = all(isinstance(law, Exponential) for law in (decode, step, read) if law is not None)
    rates = {"decode_rate": 1 / decode.moment(1), "step_rate": 1 / step.moment(1)}
    if memoryless and read is None:
        rate = float(buffered_rate(workers=workers, prefetch=prefetch, **rates))
        return rate, "birth-death chain (exact)", Claim.EXACT, ""
    if memoryless and read is not None and workers * (workers + prefetch) <= MOST_STATES:
        rate = stored_rate(read_rate=1 / read.moment(1), workers=workers, prefetch=prefetch, **rates)
        return rate, "Markov chain (exact)", Claim.EXACT, ""
    rate = two_moment_rate(
        read=scenario.read_seconds,
        read_scv=0.0 if read is None else read.scv,
        decode=decode.moment(1),
        decode_scv=decode.scv,
        workers=workers,
        prefetch=prefetch,
        step=step.moment(1),
        step_scv=step.scv,
    )
    return rate, "two moments (diffusion between two walls)", Claim.APPROXIMATION, _doubt(scenario, rate)


def _doubt(scenario: DataLoading, rate: float) -> str:
    """Which condition of the two moments fails; if none does, they are within 7 % (``test_data_loading.py``)."""
    laws = {"decode": scenario.law("decode"), "step": scenario.law("step"), "storage_jitter": scenario.read}
    if wide := [name for name, law in laws.items() if law is not None and law.scv > LARGEST_SCV]:
        return f"{' and '.join(wide)}: scv above {LARGEST_SCV:g}"
    if rate * scenario.read_seconds > BUSIEST_STORAGE and not _constant(scenario):
        return f"the storage is busy more than {100 * BUSIEST_STORAGE:g} % of the time"
    return ""


def _constant(scenario: DataLoading) -> bool:
    laws = (scenario.law("decode"), scenario.law("step"), scenario.read)
    return all(isinstance(law, Deterministic) for law in laws if law is not None)


def _measures(scenario: DataLoading, rate: float) -> dict[str, float]:
    """The metrics at this many batches a second."""
    return {
        "throughput": scenario.batch_size * rate,
        "step_time_mean": 1 / rate,
        "starvation": max(1 - rate * scenario.law("step").moment(1), 0.0),
        "worker_utilisation": rate * scenario.law("decode").moment(1) / scenario.workers,
        "storage_utilisation": rate * scenario.read_seconds,
    }
