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
from secondorder.simulate.serving.asks import PICO, draw
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.single_run import recorded
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

REQUESTS = 4_000
"""Requests of a run whose latencies are split, if no number is given."""
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

    def _latency(self, metric: str) -> Integers:
        return self.ttft if metric == "ttft" else self.e2el


def partition(
    scenario: Serving, *, seed: int = 0, requests: int | None = None, policies: Policies | None = None
) -> Partition:
    """Simulate one run of a service and split each request's latencies into causes.

    ``ttft_i = sum_c part_ic`` and ``e2el_i = sum_c part_ic`` hold in whole picoseconds for every request.
    *Valid when* anything is simulated; the run begins empty and ends empty, and nothing is cut. Causes: see ``Cause``.
    The order in which a step is split is a convention: own work alone, then the other decodes, then other prompts.
    ``requests`` are 4,000, or all of a trace, if no number is given.

    Errors: ``InputError`` for a step time that is not measured for one sequence that decodes alone.
    """
    if not isinstance(scenario, Serving):
        raise InputError("scenario", given=type(scenario).__name__, expected="a Serving, whose latencies can be split")
    whole = len(scenario.arrivals.requests) if isinstance(scenario.arrivals, Trace) else REQUESTS
    if requests is not None and requests < 1:
        raise InputError("requests", given=requests, expected="an integer of at least 1")
    return partition_of(scenario, draw(scenario, requests or whole, seed), policies=policies)


def partition_of(
    scenario: Serving, requests: Requests, *, leaps: bool = True, policies: Policies | None = None
) -> Partition:
    """The same for these requests."""
    step, prompts = scenario.step_seconds, np.asarray(requests.input_tokens)
    contexts = int(prompts.min()) + 1, int((prompts + np.asarray(requests.output_tokens)).max())
    seconds = step.bound if isinstance(step, StepFunction) else step

    def once(scenario: Serving, policies: Policies | None) -> tuple[list[int], Recorder, Accounts]:
        accounts = Accounts(len(requests), seconds, contexts)
        return *recorded(scenario, requests, leaps=leaps, policies=policies, accounts=accounts), accounts

    times, recorder, accounts = until_preempted(scenario, requests, once, policies)
    arrival = np.array(times)
    return Partition(
        scenario=scenario.name,
        arrival=arrival,
        ttft=np.frombuffer(recorder.first_token, np.int64) - arrival,
        e2el=np.frombuffer(recorder.finish, np.int64) - arrival,
        first_token=accounts.first_token,
        finish=accounts.finish,
    )
