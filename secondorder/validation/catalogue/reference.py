"""Coverage: how often simulated 95 % intervals contain the exact values in a file.

The file (CSV) has the columns ``name, parameters, quantity, value, how_computed``, ``parameters`` in
JSON. Rows of one system and parameters share their simulations. Each row is simulated, or excluded for
a reason that is given; one that nothing here knows is an error.
"""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

from secondorder.analytic.remember import itself, remembered
from secondorder.errors import FileError, InputError
from secondorder.files import read_text
from secondorder.scenarios.queue import BatchService, Closed, ForkJoin, ProcessorSharing, Queue
from secondorder.simulate.queues import warm_up
from secondorder.simulate.queues.answer import RELAXATIONS
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.run_length import RunLength, recommended_length
from secondorder.validation.catalogue.queueing import queue
from secondorder.validation.catalogue.twin import Twin, ladder_top, one_replication
from secondorder.validation.coverage import Coverage, pooled

LEAST, MOST = 0.93, 0.97
"""Between these the pooled coverage of nominal 95 % intervals must lie."""
REPLICATIONS = 10
SECONDS, SECONDS_FOR_P99, FEWEST, MANY = 10.0, 18.0, 4, 80
"""Seconds of one core for each system, roughly; the fewest and the most seeds it has."""
SEEN, LONGEST = 50, 5_000_000
"""How often a replication must see an event, and how many customers it may take to."""
HEAVY = 3
"""How many times the usual length a lognormal service takes (``simulate.statistics.run_length.recommended_length``)."""

P = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One value of the file, as a metric (SI) of a simulated queue."""

    system: str
    quantity: str
    metric: str
    truth: float


@dataclass(frozen=True, kw_only=True)
class System:
    """One queue and the values known of it."""

    name: str
    queue: Queue
    rows: tuple[Row, ...]

    @property
    def quantile(self) -> bool:
        """Whether a p99 is known of it."""
        return any(row.metric.endswith("_p99") for row in self.rows)

    @cached_property
    def length(self) -> RunLength:
        """By the design rule; long enough to see each event 50 times, and thrice as long with a lognormal service."""
        length = recommended_length(
            relaxation=max(10.0, warm_up(self.queue) / RELAXATIONS),
            quantile=0.99 if self.quantile else None,
            replications=REPLICATIONS,
        )
        kept = (length.customers - length.warm_up) * (HEAVY if "M/LN" in self.name else 1)
        rarest = min((_rarity(self.queue, row) for row in self.rows), default=1.0)
        kept = max(kept, math.ceil(SEEN / rarest))
        return RunLength(REPLICATIONS, kept + kept // 10, kept // 10)

    @property
    def cost(self) -> float:
        """Seconds of one core for a seed, roughly."""
        speed = Twin(title="", claim="", suite="", scenario=self.queue).speed
        return self.length.total / speed

    @property
    def seeds(self) -> int:
        return max(FEWEST, min(MANY, int((SECONDS_FOR_P99 if self.quantile else SECONDS) / self.cost)))


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A row that is not simulated, and why."""

    row: str
    why: str


# From rows to queues


def _markov(p: P) -> Queue:
    return queue(p["rho"] * p["c"] * p["mu"], _exponential(p["mu"]), servers=p["c"])


def _finite(p: P) -> Queue:
    return queue(float(p["lam"]), _exponential(p["mu"]), servers=p["c"], room=p["K"])


def _constant(p: P) -> Queue:
    servers = p.get("c", 1)
    return queue(p["rho"] * servers / p["D"], f"deterministic {p['D']} s", servers=servers)


def _spread(law: str, p: P, scv: float) -> Queue:
    mean = p["mean_service"]
    return queue(p["rho"] / mean, f"{law} {mean} s scv={scv!r}")


def _sharing(p: P) -> Queue:
    size = p.get("job_size", 1 / p.get("mu", 1))
    law = "deterministic" if "job_size" in p else "exponential"
    return queue(p["rho"] / size, f"{law} {size!r} s", discipline=ProcessorSharing())


def _take_all(p: P) -> Queue:
    load = float(p["lam_per_ms"].removesuffix("/alpha"))
    return _batches(p, 1000 * load / p["alpha_ms"], None)


def _up_to(p: P) -> Queue:
    load, most = float(p["lam"].removesuffix("*bmax/(alpha*bmax+tau0)")), p["bmax"]
    return _batches(p, 1000 * load * most / (p["alpha_ms"] * most + p["tau0_ms"]), most)


def _batches(p: P, rate: float, most: int | None) -> Queue:
    server = BatchService(per_item=f"{p['alpha_ms']} ms", per_batch=f"{p['tau0_ms']} ms", most=most)
    return queue(rate, None, discipline=server)


def _modulated(p: P) -> Queue:
    rates = f"markov {p['l1']} request/s rate_2={p['l2']} request/s"
    return queue(f"{rates} sojourn_1={1 / p['r12']!r} s sojourn_2={1 / p['r21']!r} s", _exponential(p["mu"]))


def _circulating(p: P) -> Queue:
    population = Closed(customers=p["N"], think=f"exponential {p['think']} s")
    return queue(population, f"exponential {p['service']} s")


def _exponential(rate: float) -> str:
    return f"exponential {1 / rate!r} s"


BUILD: Mapping[str, Callable[[P], Queue]] = {
    "M/M/c": _markov,
    "M/G/c/c": lambda p: queue(float(p["offered_load"]), "lognormal 1 s scv=4", servers=p["c"], room=p["c"]),
    "M/M/c/K": _finite,
    "M/D/1": _constant,
    "M/D/c": _constant,
    "M/H2/1": lambda p: _spread("hyperexponential", p, float(p["scv"])),
    "M/LN/1": lambda p: _spread("lognormal", p, float(p["cv"]) ** 2),
    "M/M/1-PS": _sharing,
    "M/G/1-PS": _sharing,
    "Inoue batch": _take_all,
    "batch queue finite bmax": _up_to,
    "fork-join n=2": lambda p: queue(p["rho"] * p["mu"], _exponential(p["mu"]), servers=2, routing=ForkJoin()),
    "M/M/1 setup": lambda p: queue(p["lam"], _exponential(p["mu"]), setup=f"{p['setup']} s"),
    "MMPP2/M/1": _modulated,
    "closed M/M/1": _circulating,
}

METRICS: Mapping[str, tuple[str, float]] = {
    "mean_wait": ("wait_mean", 1),
    "mean_wait_accepted": ("wait_mean", 1),
    "p99_wait": ("wait_p99", 1),
    "prob_wait": ("prob_wait", 1),
    "mean_response": ("response_mean", 1),
    "mean_response_given_size": ("response_mean", 1),
    "p99_response": ("response_p99", 1),
    "blocking_prob": ("blocking_prob", 1),
    "throughput": ("throughput", 1),
    "utilisation": ("utilisation", 1),
    "mean_batch": ("batch_mean", 1),
    "mean_latency_ms": ("response_mean", 1e-3),
    "mean_latency_ms_exact": ("response_mean", 1e-3),
}
"""The metric of each quantity, and what one of its units is in SI."""

NO_TRUTH = "an approximation or a bound, not the truth"
NO_METRIC = {
    "Halfin-Whitt": "a staffing rule, no metric of a queue",
    "Erlang C staffing": "a number of servers, no metric of a queue",
    "M/M/1 run length": "a run length, no metric of a queue",
    "MMPP2": "of the arrivals alone",
    "KV capacity": "a saturation rate of the engine, no steady metric",
    "M/G/inf KV tokens": "tokens of a cache, which the queue simulator does not have",
    "decode replica as generalised PS (Cohen)": "a limit of continuous time, which the engine's steps meet to 1-2 %",
    "supermarket": "a limit of infinitely many servers",
    "fork-join NT": NO_TRUTH,
    "LLM replica fixed point": NO_TRUTH,
    "G/G/1": NO_TRUTH,
}


def _why_not(name: str, quantity: str) -> str:
    """Why a row is excluded whatever its parameters; empty if it is not."""
    rough = ("approx", "heuristic", "bound", "Kingman", "KLB", "Marchal")
    return NO_TRUTH if any(word in quantity for word in rough) else NO_METRIC.get(name, "")


def _rarity(queue: Queue, row: Row) -> float:
    """How likely a customer is to meet what the metric counts: a wait, a loss, an idle server."""
    if row.metric in ("prob_wait", "blocking_prob", "utilisation"):
        return min(row.truth, 1 - row.truth)
    if row.metric.startswith("wait_"):
        return _waits(queue)
    return 1.0


@remembered(itself)
def _waits(queue: Queue) -> float:
    """How likely a customer is to wait; rows of one queue stand together in the file."""
    return ladder_top(queue).get("prob_wait", 1.0)


def _degenerate(queue: Queue, row: Row) -> str:
    if row.truth == 0:
        return "exactly 0: every replication says so, and the interval is a point"
    if (chance := _rarity(queue, row)) * LONGEST < SEEN:
        return f"so rare ({chance:.1e}) that {LONGEST / 1e6:g} M customers would not see it {SEEN} times"
    return ""


def read_reference(file: Path) -> tuple[list[System], list[Excluded]]:
    """The systems of a file of reference values, and the rows left out.

    Errors: ``FileError`` for a file that is not there or not of this kind, and for a row that
    nothing here can simulate or exclude.
    """
    systems: dict[tuple[str, str], list[Row]] = {}
    queues: dict[tuple[str, str], Queue] = {}
    excluded = []
    for place, line in enumerate(_lines(file), 2):
        try:
            key, quantity, truth = (line["name"], line["parameters"]), line["quantity"], float(line["value"])
            p = json.loads(line["parameters"])
            title = _title(line["name"], p)
            if why := _why_not(line["name"], quantity):
                excluded.append(Excluded(row=f"{title}: {quantity}", why=why))
                continue
            metric, unit = METRICS[quantity]
            found = queues[key] = queues.get(key) or BUILD[line["name"]](p)
        except (KeyError, ValueError, TypeError) as error:
            what = f"{file}, line {place}"
            raise FileError(what, given=f"{type(error).__name__} {error}", expected="a row that is known") from None
        row = Row(system=title, quantity=quantity, metric=metric, truth=truth * unit)
        if why := _degenerate(found, row):
            excluded.append(Excluded(row=f"{title}: {quantity}", why=why))
        else:
            systems.setdefault(key, []).append(row)
    known = [System(name=rows[0].system, queue=queues[key], rows=tuple(rows)) for key, rows in systems.items()]
    return known, excluded


def _lines(file: Path) -> list[dict[str, str]]:
    expected = "a CSV file of reference values: name, parameters, quantity, value"
    try:
        lines = list(csv.DictReader(read_text(file, encoding="utf-8-sig").splitlines()))
    except FileNotFoundError:
        raise FileError(
            str(file), given="no such file", expected=expected, remedy="name one with --reference"
        ) from None
    except OSError as error:
        raise FileError(str(file), given=error.strerror or "no file", expected=expected) from None
    except (UnicodeDecodeError, csv.Error):
        raise FileError(str(file), given="another kind of file", expected=expected) from None
    if not lines or not {"name", "parameters", "quantity", "value"} <= set(lines[0]):
        raise FileError(str(file), given="other columns", expected=expected)
    return lines


UNTOLD = {
    "mu",
    "D",
    "mean_service",
    "law",
    "alpha_ms",
    "tau0_ms",
    "service",
    "b0",
    "b1",
    "b2",
    "p0",
    "p1",
    "b0_s",
    "b1_s",
    "prefill",
    "ctx_cost",
    "mean_out",
    "KV",
    "prompt",
    "output",
    "lam_per_s",
    "step_s",
    "rel_halfwidth",
    "conf",
}
"""Parameters that are the same in all rows of a name."""
SHORT = {"lam_per_ms": "load", "offered_load": "a", "bmax": "b", "job_size": "x", "think": "Z", "setup": ""}


def _title(name: str, p: P) -> str:
    """In few characters: the parameters that differ within the file."""
    shown = {k: v for k, v in p.items() if k not in UNTOLD and not (k == "r21" and v == p.get("r12"))}
    values = {
        k: str(v).partition("/alpha")[0].partition("*")[0].replace("deterministic", "det") for k, v in shown.items()
    }
    words = " ".join(f"{SHORT.get(k, k)} {value}" for k, value in values.items()).split()
    return f"{name.removesuffix(' finite bmax').partition(' as ')[0]}, {' '.join(words)}".removesuffix(", ")


# Coverage


@dataclass(frozen=True, kw_only=True)
class Covered:
    """How often the intervals of one row held its value."""

    row: Row
    coverage: Coverage

    @property
    def quantile(self) -> bool:
        return self.row.metric.endswith("_p99")


def intervals_hold(system: System, seed: int, number: int) -> list[bool]:
    """Whether the intervals of one seed hold the values, row by row."""
    own = crc32(f"{seed} {number} {system.name}".encode())
    values = [one_replication(system.queue, system.length.customers, own, k) for k in range(REPLICATIONS)]
    held = []
    for row in system.rows:
        found = student([value[row.metric] for value in values])
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= row.truth <= found.high)
    return held


def pool(rows: Sequence[Covered], *, quantile: bool) -> Coverage:
    """All rows of means (and probabilities), or of p99. Rows of one system share their runs, so that
    Wilson's interval of the pool is somewhat too short."""
    chosen = [each.coverage for each in rows if each.quantile == quantile]
    if not chosen:
        raise InputError("rows", given="none of the kind", expected="at least one exact row")
    return pooled(chosen)
