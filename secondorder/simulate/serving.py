"""An LLM service, simulated: requests arrive, one engine serves them, each leaves its record."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import simpy

from secondorder.errors import InputError, Unstable
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.scenarios.serving import Serving
from secondorder.simulate.engine import Engine, Recorder, arrive, scheduler_for
from secondorder.simulate.output import mser5, student
from secondorder.simulate.replicate import replicated
from secondorder.simulate.scheduler import Request
from secondorder.simulate.streams import stream
from secondorder.workloads.arrivals import TraceArrivals
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace

PICO = 1e-12
LONGEST_TIME = 9e6  # s; whole picoseconds in 64 bits end at 9.2e6
MOST_REQUESTS = 10_000_000
SHORT = 2_000  # requests; growth over fewer is no sign of overload
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
FIRST_LENGTH, LONGEST = 4_000, 64_000  # requests of a replication, when the length is chosen here
WANTED = 0.05  # relative half-width that it is chosen for


@dataclass(frozen=True)
class Run:
    """One run to the end: every request is served.

    ``requests`` has a row per request in order of arrival: ``arrival, scheduled, first_token,
    finish`` (s), ``input_tokens, output_tokens, cached_tokens, preemptions`` and the metrics
    ``ttft, tpot, e2el`` (s; ``tpot`` is absent for a single output token). ``series`` has a
    row for each step, or leap over steps with the same requests, or idle time: its end
    ``time`` (s), the sequences ``running`` in it, those ``waiting`` at its end, and the mean
    ``kv_usage`` in it (share of the blocks).
    """

    requests: pd.DataFrame
    series: pd.DataFrame
    steps: int


def draw(scenario: Serving, count: int, seed: int = 0, replication: int = 0) -> Requests:
    """The requests of one replication: arrivals and lengths from streams of their own."""
    return scenario.requests(count, stream(seed, replication, "arrivals"), stream(seed, replication, "lengths"))


def run(scenario: Serving, requests: Requests, *, leaps: bool = True) -> Run:
    """Serve these requests by the scenario's engine, from an empty start to the last token.

    Without ``leaps`` each step has a row of its own in the series; the times are the same.
    """
    arrivals, recorder = record(scenario, requests, leaps=leaps)
    return Run(_records(requests, arrivals, recorder), _series(recorder, scenario.kv_blocks - 1), recorder.steps)


def record(scenario: Serving, requests: Requests, *, leaps: bool = True) -> tuple[list[int], Recorder]:
    """The same run in whole picoseconds, as the engine counts them: arrivals, and what was recorded."""
    scenario.check(requests)
    env = simpy.Environment(initial_time=0)
    recorder = Recorder(len(requests))
    scheduler = scheduler_for(scenario)
    engine = Engine(env, scheduler, scenario.step_seconds, recorder, ahead=scenario.async_scheduling, leaps=leaps)
    if len(requests) and np.asarray(requests.arrival)[-1] > LONGEST_TIME:
        given = f"arrivals up to {np.asarray(requests.arrival)[-1]:.3g} s"
        raise InputError("arrivals", given=given, expected=f"at most {LONGEST_TIME:.3g} s, the clock's range")
    arrivals: list[int] = np.rint(np.asarray(requests.arrival) / PICO).astype(np.int64).tolist()
    env.process(arrive(env, arrivals, _each(scenario, requests), engine.submit))
    env.run()
    return arrivals, recorder


def _each(scenario: Serving, requests: Requests) -> Iterator[Request]:
    prompts, outputs = np.asarray(requests.input_tokens).tolist(), np.asarray(requests.output_tokens).tolist()
    for index, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        prefix = _prefix(requests, index, scenario.block_size) if scenario.enable_prefix_caching else ()
        yield Request(index, prompt, output, prefix)


def _prefix(requests: Requests, index: int, block_size: int) -> tuple[tuple[int, int], ...]:
    """The identity of each full block of a prompt.

    The trace's hash of the block in which the engine's block ends stands for the whole
    prefix up to there; the place tells the engine's blocks of one hash apart. Blocks past the
    last hash are the request's own.
    """
    if requests.hash_ids is None:
        return ()
    hashes, size = requests.hash_ids[index], requests.hash_block
    full = int(requests.input_tokens[index]) // block_size
    last = ((np.arange(full) + 1) * block_size - 1) // size
    known = last < len(hashes)
    return tuple(zip(np.asarray(hashes)[last[known]].tolist(), range(int(known.sum())), strict=True))


def _records(requests: Requests, times: list[int], recorder: Recorder) -> pd.DataFrame:
    arrival = np.array(times)
    scheduled, first, finish = (
        np.frombuffer(column, dtype=np.int64) for column in (recorder.scheduled, recorder.first_token, recorder.finish)
    )
    later = np.asarray(requests.output_tokens) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(later > 0, (finish - first) * PICO / later, np.nan)
    return pd.DataFrame(
        {
            "arrival": arrival * PICO,
            "scheduled": scheduled * PICO,
            "first_token": first * PICO,
            "finish": finish * PICO,
            "input_tokens": requests.input_tokens,
            "output_tokens": requests.output_tokens,
            "cached_tokens": np.frombuffer(recorder.cached, dtype=np.int64),
            "preemptions": np.frombuffer(recorder.preemptions, dtype=np.int64),
            "ttft": (first - arrival) * PICO,
            "tpot": tpot,
            "e2el": (finish - arrival) * PICO,
        }
    )


def _series(recorder: Recorder, blocks: int) -> pd.DataFrame:
    time, running, waiting, used = (np.frombuffer(column, dtype=np.int64) for column in recorder.series)
    return pd.DataFrame({"time": time * PICO, "running": running, "waiting": waiting, "kv_usage": used / (2 * blocks)})


# From runs to an answer


def simulate_serving(
    scenario: Serving, *, seed: int = 0, replications: int = 10, requests: int | None = None, jobs: int = 1
) -> Answer:
    """Independent replications of a service, or one replay where a trace is given.

    ``requests`` of each replication; if not given it is doubled until the p99 of the time to
    first token is known within 5 % (or 64,000 are reached). Warm-up (MSER-5 over the mean of
    all replications) and the end, where arrivals have ceased, are cut. ``jobs`` processes
    share the replications; the result does not depend on it.

    Errors: ``Unstable`` when the queue grows through the run.
    """
    _check_options(seed, replications, requests, jobs)
    if isinstance(scenario.arrivals, Trace):
        return _replay(scenario, requests)
    length = requests or FIRST_LENGTH
    while True:
        runs = _replicate(scenario, seed, replications, length, jobs)
        answer = _steady_answer(scenario, runs, length)
        known = student([r.requests["ttft"].quantile(0.99) for r in runs]).relative_half_width <= WANTED
        if requests is not None or known or length >= LONGEST:
            return answer
        length *= 2


def _check_options(seed: int, replications: int, requests: int | None, jobs: int) -> None:
    for name, value, least in (
        ("seed", seed, 0),
        ("replications", replications, 2),
        ("requests", requests, 1),
        ("jobs", jobs, 1),
    ):
        if value is not None and (not isinstance(value, int | np.integer) or value < least):
            raise InputError(name, given=repr(value), expected=f"an integer of at least {least}")
    if requests is not None and requests > MOST_REQUESTS:
        raise InputError("requests", given=f"{requests:,}", expected=f"at most {MOST_REQUESTS:,} of a replication")


def _replicate(scenario: Serving, seed: int, replications: int, length: int, jobs: int) -> list[Run]:
    return replicated(lambda k: _one(scenario, length, seed, k), replications, jobs)


def _one(scenario: Serving, length: int, seed: int, replication: int) -> Run:
    return run(scenario, draw(scenario, length, seed, replication))


def _check_steady(scenario: Serving, runs: list[Run], length: int) -> None:
    """Refuse a queue that grows through the second half of the runs, by more than chance.

    In a steady state as many leave as come. Growth is the share of the arrivals of the second
    half that are left over at its end; it must be above half a percent with 99.9 % confidence.
    Runs of less than a few times the engine's slots tell nothing, and are left to the warm-up.
    """
    if length < max(SHORT, 4 * scenario.max_num_seqs):
        return
    growth = student([_growth(r.requests) for r in runs], 0.999)
    if growth.low is not None and growth.low > 0.005:
        served = scenario.rate * (1 - growth.mean)
        raise Unstable(
            f"{scenario.name}: {scenario.rate:.4g} request/s offered, {served:.4g} served, and the queue grew through "
            "the runs; lower the rate, add replicas, or replay a trace to study the transient"
        )


def _growth(requests: pd.DataFrame) -> float:
    """Requests left over of the second half's arrivals, as a share of them."""
    arrival, finish = requests["arrival"].to_numpy(), np.sort(requests["finish"].to_numpy())
    middle, end = arrival[len(arrival) // 2], arrival[-1]
    more = _inside(arrival, finish, end) - _inside(arrival, finish, middle)
    return more / (len(arrival) - len(arrival) // 2)


def _inside(arrival: npt.NDArray[np.float64], finish: npt.NDArray[np.float64], time: float) -> int:
    """Requests in the system at a time."""
    return int(np.searchsorted(arrival, time, side="right") - np.searchsorted(finish, time, side="right"))


def _steady_answer(scenario: Serving, runs: list[Run], length: int) -> Answer:
    _check_steady(scenario, runs, length)
    warm = mser5(np.mean([r.requests["e2el"].to_numpy() for r in runs], axis=0))
    start = max(warm, *(_beginning(r.requests) for r in runs))
    ends = [_end(r.requests) for r in runs]
    too_short = 2 * start >= length - 10 or min(ends) - start < length / 4
    if too_short:
        start, ends = 0, [length] * len(runs)
    values = [_metrics(scenario, r, start, end) for r, end in zip(runs, ends, strict=True)]
    note = "not enough data: to fill and to empty takes most of the run; use more requests" if too_short else ""
    estimates = [_estimate(metric, np.array([v[metric] for v in values]), note) for metric in values[0]]
    kept = sum(ends) - start * len(runs)
    how = (
        f"simulated, steady state: {len(runs)} replications of {length:,} requests, "
        f"the first {start:,} cut as warm-up, {kept:,} measured"
    )
    if too_short:
        how = f"simulated, transient: {len(runs)} replications of {length:,} requests, nothing cut"
    if isinstance(scenario.arrivals, TraceArrivals):
        how += "; every replication has the trace's own arrivals, and its intervals are for these"
    return _answer(scenario, estimates, how, runs[0])


def _beginning(requests: pd.DataFrame) -> int:
    """How many requests came before the engine can have filled: within the longest latency of the first."""
    return int(requests["arrival"].searchsorted(requests["arrival"].iloc[0] + requests["e2el"].max()))


def _end(requests: pd.DataFrame) -> int:
    """How many requests came early enough to be served while others still arrived."""
    last = requests["arrival"].iloc[-1] - requests["e2el"].max()
    return int(requests["arrival"].searchsorted(last))


def _replay(scenario: Serving, count: int | None) -> Answer:
    assert isinstance(scenario.arrivals, Trace)
    total = len(scenario.arrivals.requests)
    if count is not None and count > total:
        raise InputError("requests", given=count, expected=f"at most the {total} of the trace")
    replayed = run(scenario, draw(scenario, count or total))
    metrics = _metrics(scenario, replayed, 0, len(replayed.requests))
    estimates = [_estimate(metric, np.array([value]), "") for metric, value in metrics.items()]
    how = f"simulated, transient: {len(replayed.requests):,} requests of the trace replayed once"
    return _answer(scenario, estimates, how, replayed)


def _answer(scenario: Serving, estimates: list[Estimate], how: str, shown: Run) -> Answer:
    return Answer(
        scenario=scenario.name, estimates=tuple(estimates), how=how, requests=shown.requests, series=shown.series
    )


def _estimate(metric: str, values: npt.NDArray[np.float64], note: str) -> Estimate:
    interval = student(values)
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=_UNITS.get(metric, "s"),
        source="simulated",
        low=interval.low,
        high=interval.high,
        in_domain=not note,
        note=note,
    )


_UNITS = {
    "request_throughput": "request/s",
    "request_goodput": "request/s",
    "output_throughput": "token/s",
    "running_mean": "",
    "kv_usage_mean": "",
    "preemptions_per_request": "",
    "prefix_hit_rate": "",
}


def _metrics(scenario: Serving, run: Run, start: int, end: int) -> dict[str, float]:
    """The metrics of the requests from ``start`` to ``end``, and of the engine meanwhile."""
    kept = run.requests.iloc[start:end]
    found: dict[str, float] = {}
    for name in ("ttft", "tpot", "e2el"):
        values = kept[name].dropna().to_numpy()
        if len(values):
            found[f"{name}_mean"] = float(values.mean())
            levels = np.quantile(values, list(QUANTILES.values()))
            found |= {f"{name}_{label}": float(value) for label, value in zip(QUANTILES, levels, strict=True)}
    since, until = kept["arrival"].iloc[0], kept["arrival"].iloc[-1]
    if isinstance(scenario.arrivals, Trace):
        until = run.requests["finish"].max()
    done = run.requests[run.requests["finish"].between(since, until)]
    span = max(until - since, PICO)
    found["request_throughput"] = len(done) / span
    found["output_throughput"] = _tokens(run.requests, since, until) / span
    if scenario.goodput:
        found["request_goodput"] = _met(scenario, done) / span
    found |= _time_averages(run.series, since, until)
    found["preemptions_per_request"] = float(kept["preemptions"].mean())
    if scenario.enable_prefix_caching:
        found["prefix_hit_rate"] = float(kept["cached_tokens"].sum() / kept["input_tokens"].sum())
    return found


def _tokens(requests: pd.DataFrame, since: float, until: float) -> float:
    """Output tokens of a span of time: of each request the share that its decoding has in it."""
    first, finish = requests["first_token"].to_numpy(), requests["finish"].to_numpy()
    inside = (finish.clip(since, until) - first.clip(since, until)) / np.maximum(finish - first, PICO)
    begun = (first >= since) & (first <= until)
    return float(((requests["output_tokens"].to_numpy() - 1) * inside).sum() + begun.sum())


def _met(scenario: Serving, done: pd.DataFrame) -> int:
    """How many requests met every objective; a single output token has no time per output token."""
    met = np.ones(len(done), bool)
    for name, most in scenario.objectives.items():
        met &= ~(done[name].to_numpy() > most)
    return int(met.sum())


def _time_averages(series: pd.DataFrame, since: float, until: float) -> dict[str, float]:
    """Of the engine's state between two times; a row of the series holds since the one before."""
    ends = series["time"].to_numpy().clip(since, until)
    spans = np.diff(ends, prepend=since)
    total = max(spans.sum(), PICO)
    return {f"{name}_mean": float(series[name].to_numpy() @ spans / total) for name in ("running", "kv_usage")}
