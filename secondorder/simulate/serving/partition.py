"""Where the time of requests goes: each latency split into causes that add up to it, to the last picosecond.

>>> import secondorder as so
>>> scenario = so.Serving(model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 8 request/s",
...     lengths="input=1024 output=64")
>>> parts = so.partition(scenario, requests=500, seed=1)
>>> int((parts.finish.sum(axis=1) - parts.e2el).max())
0
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Integers
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import StepFunction
from secondorder.simulate.serving.accounts import Accounts
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.compiled import witness_of
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.single_run import recorded
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.simulate.witness import Witness
from secondorder.workloads.requests import Requests

if TYPE_CHECKING:
    import pandas as pd

LATENCIES = ("ttft", "e2el")
AROUND = 0.005
"""Share of the requests on each side of a quantile whose mean stands for it."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Latencies of one run in whole picoseconds, split into causes.

    ``first_token`` has the parts of the time to first token, ``finish`` those of the end-to-end time: a row a request
    in order of arrival, a column a ``Cause``. ``arrival``, ``ttft`` and ``e2el`` are times of the requests.
    """

    scenario: str
    arrival: Integers = field(repr=False)
    ttft: Integers = field(repr=False)
    e2el: Integers = field(repr=False)
    first_token: Integers = field(repr=False)
    finish: Integers = field(repr=False)

    def parts(self, metric: str = "ttft") -> Integers:
        """The parts of ``ttft`` or ``e2el``, in picoseconds."""
        if metric not in LATENCIES:
            raise UnknownName.among("metric", metric, LATENCIES)
        return self.first_token if metric == "ttft" else self.finish

    @property
    def frame(self) -> "pd.DataFrame":
        """A row a request: arrival, latencies, and the parts of both (``ttft_cache``, ``e2el_cache``), in s."""
        import pandas as pd

        columns = {"arrival": self.arrival * PICO, "ttft": self.ttft * PICO, "e2el": self.e2el * PICO}
        for metric in LATENCIES:
            for cause in Cause:
                columns[f"{metric}_{cause.column}"] = self.parts(metric)[:, cause] * PICO
        return pd.DataFrame(columns)

    def around(self, metric: str = "ttft", quantile: float = 0.99) -> Integers:
        """The requests nearest to a quantile of a latency: half a percent of them on each side."""
        if not 0 < quantile < 1:
            raise InputError("quantile", given=quantile, expected="a number between 0 and 1")
        order = np.argsort(self._latency(metric), kind="stable")
        low, high = (int(np.floor((quantile + side) * len(order))) for side in (-AROUND, AROUND))
        return order[max(0, min(low, len(order) - 1)) : max(high, low + 1)]

    def summary(self, metric: str = "ttft", *, request: int | None = None) -> "pd.DataFrame":
        """A row a cause: seconds of the mean request and of those around the p99; of one ``request`` if it is given."""
        import pandas as pd

        parts = self.parts(metric)
        if request is not None and not 0 <= request < len(parts):
            raise InputError("request", given=request, expected=f"a number from 0 to {len(parts) - 1}")
        columns = {"mean": parts.mean(axis=0), "around_p99": parts[self.around(metric)].mean(axis=0)}
        if request is not None:
            columns[f"request_{request}"] = parts[request]
        causes = pd.Index([cause.column for cause in Cause], name="cause")
        return pd.DataFrame({name: np.asarray(values) * PICO for name, values in columns.items()}, index=causes)

    @property
    def rate(self) -> float:
        """Requests per second from the first arrival to the last answer."""
        return len(self.arrival) / (self._span * PICO)

    def littles_law(self, metric: str = "e2el") -> "pd.DataFrame":
        """A row a cause: the mean time in it (s) and the mean number of requests in it, ``number = rate * time``.

        Exact for a run that begins and ends empty (Little 1961): both are the same area over the time of the run. At
        any instant a request is at one cause; within a step it is at those of its share one after the other.
        """
        import pandas as pd

        areas = self.parts(metric).sum(axis=0)
        causes = pd.Index([cause.column for cause in Cause], name="cause")
        columns = {"time": areas * PICO / len(self.arrival), "number": areas / self._span}
        return pd.DataFrame(columns, index=causes)

    @property
    def _span(self) -> int:
        """Picoseconds of the run."""
        return int((self.arrival + self.e2el).max() - self.arrival.min())

    def _latency(self, metric: str) -> Integers:
        return self.ttft if metric == "ttft" else self.e2el


def partition_of(
    scenario: Serving,
    requests: Requests,
    *,
    leaps: bool = True,
    policies: Policies | None = None,
    witness: Witness | None = None,
) -> Partition:
    """Split the latencies of these requests at a service into causes, by either witness.

    Errors: ``InputError`` for a step time that is not measured for one sequence that decodes alone, and for the kernel
    with ``policies`` of one's own.
    """
    scenario.check_one_scheduler("a partition of latencies")
    scenario.check_one_cache("a partition of latencies")
    scenario.check_one_stage("a partition of latencies")
    if witness == "kernel" and policies is not None:
        raise InputError("witness", given="kernel with policies", expected="events, which runs any policies")
    if policies is None and accountant(scenario, witness) == "kernel":
        return _compiled(scenario, requests, leaps)

    def once(scenario: Serving, policies: Policies | None) -> tuple[list[int], Recorder, Accounts]:
        accounts = accounts_for(scenario, requests)
        return *recorded(scenario, requests, leaps=leaps, policies=policies, accounts=accounts), accounts

    times, recorder, accounts = until_preempted(scenario, requests, once, policies)
    first, finish = (np.frombuffer(column, np.int64) for column in (recorder.first_token, recorder.finish))
    return split_at(scenario.name, np.array(times), first, finish, accounts.first_token, accounts.finish)


def accountant(scenario: Serving, asked: Witness | None) -> Witness:
    """The witness that splits a service's latencies: not the kernel where requests have priorities.

    Errors: ``InputError`` where the kernel is asked for and cannot.
    """
    if scenario.scheduling_policy == "fcfs":
        return witness_of(scenario, asked)
    if asked == "kernel":
        raise InputError("witness", given="kernel for a service by priority", expected="events, which splits its times")
    return "events"


def accounts_for(scenario: Serving, requests: Requests) -> Accounts:
    """The accounts of these requests at one engine."""
    step, prompts = scenario.step_seconds, np.asarray(requests.input_tokens)
    contexts = int(prompts.min()) + 1, int((prompts + np.asarray(requests.output_tokens)).max())
    return Accounts(len(requests), step.bound if isinstance(step, StepFunction) else step, contexts)


def split_at(
    name: str, arrival: Integers, first: Integers, finish: Integers, first_parts: Integers, parts: Integers
) -> Partition:
    """The partition of requests with these times and parts."""
    return Partition(
        scenario=name,
        arrival=arrival,
        ttft=first - arrival,
        e2el=finish - arrival,
        first_token=first_parts,
        finish=parts,
    )


def _compiled(scenario: Serving, requests: Requests, leaps: bool) -> Partition:
    from secondorder.simulate.kernels.serving.run import record

    found = record(scenario, requests, records=False, leaps=leaps, accounts=True)
    return split_at(scenario.name, found.arrival, found.first_token, found.finish, found.first_parts, found.parts)
