"""A closed loop of users over separate prefill and decode, by mean values: requests and waits in each part.

``N`` users are in prefill, on the link, in line for a place, or decode. With ``n`` of them decoding on ``d`` replicas
a request takes ``D(n) = r t(n/d)``: its ``r`` steps of that many sequences, and the system completes ``X(n) = n/D(n)``.
The other ``N - n`` are elsewhere, ``X (S + W + T)`` by Little's law: ``S`` the prefill step of one prompt, ``T`` the
transfer, and ``W = rho/(1 - rho) B/(2 p)`` the wait for ``p`` prefill replicas that are busy ``rho = X/mu`` of the
time with steps ``B`` of up to ``m`` prompts, ``mu = p m/B``. The balance has one ``n``; with all places taken the rest
wait in line for one.

*Approximation*: mean values; prompts come evenly. In a run they come in bunches, as the first all come at once.
*Source*: Little's law and bottleneck analysis of closed networks (Lazowska et al. 1984, chapter 5).
"""

from dataclasses import dataclass

import numpy as np

from secondorder.answers.answer import Answer, ranked
from secondorder.answers.estimate import approximation, bound, rungs
from secondorder.answers.metric import LATENCIES, Metric
from secondorder.scenarios.disaggregated import Disaggregated

METRICS = (
    *LATENCIES,
    Metric(name="throughput", unit="request/s"),
    Metric(name="running", statistics=("mean",)),
    Metric(name="prefill_utilisation"),
)
CLOSE = 1e-9
"""Relative width at which the search for the balance ends."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Means of a loop: ``throughput`` (request/s), sequences that decode, seconds of each stage, prefill's load."""

    throughput: float
    decoding: float
    prefill: float
    decode: float
    waiting: float
    utilisation: float


def solve_loop(scenario: Disaggregated) -> Answer:
    """Order 0: a request alone. Order 1: the balance of ``N`` users."""
    scenario.serving.check_law()
    assert scenario.users is not None
    alone, found = balance(scenario, 1), balance(scenario, scenario.users)
    rows = [
        *rungs(METRICS, 0, "one user alone", bound("from below, one user alone"), _times(scenario, alone, 1)),
        *rungs(METRICS, 1, "balance of users", approximation("mean values"), _times(scenario, found, scenario.users)),
        *rungs(
            METRICS,
            1,
            "balance of users",
            approximation("mean values"),
            {
                "throughput": found.throughput,
                "running_mean": found.decoding,
                "prefill_utilisation": found.utilisation,
            },
        ),
    ]
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=_how(scenario, found))


def _how(scenario: Disaggregated, found: Balance) -> str:
    if found.decoding >= scenario.places * scenario.decode_replicas * (1 - 1e-6):
        binds = "all decode places are taken"
    else:
        binds = f"prefill replicas are busy {found.utilisation:.0%} of the time"
    return f"balance of {scenario.users} users over prefill, link and decode; {binds}"


def balance(scenario: Disaggregated, users: int) -> Balance:
    """The means with this many users.

    >>> import secondorder as so
    >>> serving = so.Serving(
    ...     model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 1 request/s",
    ...     lengths="input=2048 output=256", step_time="measured-roofline")
    >>> split = so.Disaggregated(
    ...     serving=serving, prefill_replicas=1, decode_replicas=2, link="50 GB/s latency=10 us", users=32)
    >>> found = balance(split, 32)
    >>> round(found.decoding + found.throughput * (found.prefill + found.waiting), 3)
    32.0
    """
    places = scenario.places * scenario.decode_replicas
    prompt = scenario.serving.offered.mean_input
    transfer = float(scenario.transfer_seconds(prompt))
    low, high = 0.0, float(min(users, places))
    if _elsewhere(scenario, high, transfer) + high <= users:
        low = high
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _elsewhere(scenario, middle, transfer) + middle > users else (middle, high)
    decode = _decode_seconds(scenario, low)
    rate = low / decode
    stage = _prefill_seconds(scenario, rate) + transfer
    return Balance(
        throughput=rate,
        decoding=low,
        prefill=stage,
        decode=decode,
        waiting=max(0.0, users / rate - decode - stage),
        utilisation=rate / _prefill_rate(scenario),
    )


def _elsewhere(scenario: Disaggregated, decoding: float, transfer: float) -> float:
    """Users in prefill and on the link while this many decode; without end past what prefill can do."""
    rate = decoding / _decode_seconds(scenario, decoding)
    return rate * (_prefill_seconds(scenario, rate) + transfer)


def _prefill_rate(scenario: Disaggregated) -> float:
    steps = scenario.prefill_steps
    return float(scenario.prefill_replicas * (steps.size - 1) / steps[-1])


def _prefill_seconds(scenario: Disaggregated, rate: float) -> float:
    """The step of one prompt and the wait for it."""
    busy, steps = rate / _prefill_rate(scenario), scenario.prefill_steps
    if busy >= 1:
        return np.inf
    return float(steps[1] + busy / (1 - busy) * steps[-1] / (2 * scenario.prefill_replicas))


def _decode_seconds(scenario: Disaggregated, decoding: float) -> float:
    """All steps of a request while this many decode: the first hands on the prompt's token, the others the rest."""
    return (1 + _steps(scenario)) * _step(scenario, decoding)


def _steps(scenario: Disaggregated) -> float:
    return max(scenario.serving.offered.mean_output - 1, 0.0) / scenario.tokens_per_step


def _step(scenario: Disaggregated, decoding: float) -> float:
    law, steps = scenario.serving.offered, scenario.decode_steps
    each = max(decoding / scenario.decode_replicas, 1.0)
    at = np.arange(steps.seconds.size)
    held = each * (law.mean_input + law.mean_output / 2)
    return float(np.interp(each, at, steps.seconds) + np.interp(each, at, steps.per_token) * held)


def _times(scenario: Disaggregated, found: Balance, users: int) -> dict[str, float]:
    """As the client sees them: ``steps_late`` steps belong to the first token and not to the others."""
    step, rest = _step(scenario, found.decoding), found.decode
    late = min(scenario.steps_late, _steps(scenario)) * step
    later = max(scenario.serving.offered.mean_output - 1, 1.0)
    times = {"ttft_mean": found.prefill + found.waiting + step + late, "e2el_mean": users / found.throughput}
    return times | {"tpot_mean": (rest - step - late) / later}
