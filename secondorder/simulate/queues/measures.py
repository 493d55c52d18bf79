"""From a run to numbers: what the customers of one part of it experienced, and what the servers did meanwhile."""

import numpy as np

from secondorder.answers.metric import QUANTILES
from secondorder.errors import InputError
from secondorder.scenarios.queue import BatchService, Queue
from secondorder.simulate.queues.records import Floats, Outcome, Run


def measure(queue: Queue, run: Run, start: int = 0, end: int | None = None) -> dict[str, float]:
    """The metrics of the customers ``start`` to ``end``, in s and 1/s.

    - ``wait_mean``, ``wait_p50``, ``wait_p90``, ``wait_p99``, ``prob_wait`` (a wait above 0) and the
      same of ``response``, of customers that were served;
    - ``number_mean`` (in the system, or going to come again), ``queue_mean`` (not in service),
      ``utilisation`` (share of the servers' time at work) and ``throughput`` (services completed,
      also unsuccessful ones), over the time in which these customers came; in a transient scenario
      until the last has left;
    - ``blocking_prob`` with a finite room; ``abandonment_prob``, ``attempts_mean`` and ``goodput``
      (customers answered in time) and ``wait_mean_all`` (of all, until they are served or leave) with
      patience; ``batch_mean`` of a batch server;
    - ``wait_mean_class_1``, ``response_mean_class_1``, ``response_p99_class_1``, ... with classes.

    Where a service has no beginning of its own there is no wait. Errors: ``InputError`` where the
    part holds fewer than two customers, or none that was served.
    """
    end = len(run) if end is None else end
    if end - start < 2:
        raise InputError(
            "customers", given=f"{max(end - start, 0)} to measure", expected="at least 2", remedy="ask for more"
        )
    since = float(run.arrival[start])
    until = float(run.arrival[end - 1]) if not queue.transient else _last(run)
    return {
        **_waits(run, slice(start, end)),
        **_over_time(queue, run, since, until),
        **_fates(queue, run, slice(start, end), since, until),
        **_classes(run, slice(start, end)),
    }


def over_time(run: Run, spans: int = 200) -> dict[str, Floats]:
    """The run in equal spans: the end ``time`` of each (s), ``arrived`` and ``served`` (1/s), ``inside`` at its end."""
    edges = np.linspace(0, _last(run), spans + 1)
    gone, served = np.sort(run.gone), run.finish[~np.isnan(run.finish)]
    inside = np.searchsorted(run.arrival, edges, side="right") - np.searchsorted(gone, edges, side="right")
    arrived, done = np.histogram(run.arrival, edges)[0], np.histogram(served, edges)[0]
    width = edges[1] - edges[0]
    return {"time": edges[1:], "arrived": arrived / width, "served": done / width, "inside": inside[1:].astype(float)}


def _last(run: Run) -> float:
    gone = run.gone[np.isfinite(run.gone)]
    return float(max(run.arrival[-1], gone.max() if gone.size else 0.0))


def _waits(run: Run, part: slice) -> dict[str, float]:
    served = ~np.isnan(run.finish[part])
    if not served.any():
        raise InputError(
            "customers", given="none served among those measured", expected="at least one", remedy="ask for more"
        )
    found: dict[str, float] = {}
    if run.begin_matters:
        wait = run.wait[part][served]
        found |= _summary("wait", wait)
        found["prob_wait"] = float((wait > 0).mean())
    return found | _summary("response", run.response[part][served])


def _summary(name: str, values: Floats) -> dict[str, float]:
    levels = np.quantile(values, list(QUANTILES.values()))
    quantiles = {f"{name}_{label}": float(level) for label, level in zip(QUANTILES, levels, strict=True)}
    return {f"{name}_mean": float(values.mean()), **quantiles}


def _over_time(queue: Queue, run: Run, since: float, until: float) -> dict[str, float]:
    span = until - since
    if span <= 0:
        raise InputError("customers", given="customers that all came at once", expected="a span of time to measure")
    found = {"number_mean": _overlap(run.arrival, run.gone, since, until) / span}
    patience = queue.patience
    once = patience is None or (patience.withdrawn and not patience.retries)  # in line until served or gone
    if run.begin_matters and once:
        begun = np.where(np.isnan(run.start), run.gone, run.start)
        found["queue_mean"] = _overlap(run.arrival, begun, since, until) / span
    began, ended = run.busy or (run.start, run.finish)
    if run.begin_matters or run.busy:
        busy = _overlap(began, ended, since, until)
    else:
        busy = _served_at_once(run, queue.servers, since, until)
        ended = run.finish
    found["utilisation"] = busy / (queue.servers * span)
    completed = run.finish if isinstance(queue.discipline, BatchService) or not run.begin_matters else ended
    found["throughput"] = _within(completed, since, until) / span
    return found


def _overlap(begin: Floats, end: Floats, since: float, until: float) -> float:
    """Of all spans with the time from ``since`` to ``until``, added up."""
    within = np.minimum(end, until) - np.maximum(begin, since)
    return float(np.nansum(np.maximum(within, 0.0)))


def _within(times: Floats, since: float, until: float) -> int:
    return int(((times > since) & (times <= until)).sum())


def _served_at_once(run: Run, servers: int, since: float, until: float) -> float:
    """The integral of ``min(number inside, servers)``: where all that are inside are served, or one of them."""
    times = np.concatenate([run.arrival, run.gone])
    order = np.argsort(times, kind="stable")
    number = np.cumsum(np.repeat([1, -1], len(run))[order])
    edges = times[order].clip(since, until)
    return float(np.minimum(number[:-1], servers) @ np.diff(edges))


def _fates(queue: Queue, run: Run, part: slice, since: float, until: float) -> dict[str, float]:
    found: dict[str, float] = {}
    if queue.room is not None and run.outcome is not None:
        found["blocking_prob"] = float((run.outcome[part] == Outcome.BLOCKED).mean())
    if queue.patience is not None and run.outcome is not None and run.attempts is not None:
        found["wait_mean_all"] = float((np.fmin(run.start, run.gone) - run.arrival)[part].mean())
        found["abandonment_prob"] = float((run.outcome[part] == Outcome.ABANDONED).mean())
        found["attempts_mean"] = float(run.attempts[part].mean())
        found["goodput"] = _within(run.finish, since, until) / (until - since)
    if isinstance(queue.discipline, BatchService) and run.busy is not None:
        started = _within(run.busy[0], since, until)
        found["batch_mean"] = _within(run.start, since, until) / started if started else float("nan")
    return found


def _classes(run: Run, part: slice) -> dict[str, float]:
    if run.kind is None:
        return {}
    found: dict[str, float] = {}
    kind, wait, response = run.kind[part], run.wait[part], run.response[part]
    for k in range(1, int(run.kind.max()) + 1):
        mine = kind == k
        if run.begin_matters:
            found[f"wait_mean_class_{k}"] = float(wait[mine].mean())
        found[f"response_mean_class_{k}"] = float(response[mine].mean())
        found[f"response_p99_class_{k}"] = float(np.quantile(response[mine], 0.99))
    return found
