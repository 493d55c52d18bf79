"""Lines of requests: a class that a step leaves waiting (T5), clipped answers (T8), predicted lengths (T9)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from secondorder.analytic.serving.theory import classes_in_flight, clipped_outputs, predicted_sizes
from secondorder.scenarios.steptime import Affine
from secondorder.simulate.kernels.smallest_first import finishes
from secondorder.simulate.serving.compiled import run_compiled
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.theory.theorem import Theorem, engine
from secondorder.validation.catalogue.twin import MEAN, Amounts
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.requests import Requests

# T5: a whole number of a class is admitted in each step


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``rate`` requests of a class come in a step, Poisson, and ``admitted`` at most are admitted."""

    rate: float = 3.0
    admitted: int = 4
    name: str = "rule"


def left_waiting(case: Rule) -> Amounts:
    return {"waiting": classes_in_flight.mean_left_waiting(arrival_rate=case.rate, admitted=case.admitted)}


def one_line(case: Rule, steps: int, seed: int, replication: int) -> Amounts:
    """Mean number that wait after each step, past an eighth of the steps."""
    waiting, found = 0, []
    for came in stream(seed, replication, "arrivals").poisson(case.rate, steps).tolist():
        waiting = max(waiting + came - case.admitted, 0)
        found.append(waiting)
    return {"waiting": float(np.mean(found[steps // 8 :]))}


# T8: one request at a time, its answer cut at a limit


@dataclass(frozen=True, kw_only=True)
class Limit:
    """An engine of one slot that takes ``per_token`` seconds for each token of answers of at most ``most`` tokens."""

    most: int
    rate: float = 1 / 40
    per_token: float = 0.0225
    mu: float = 7.0
    sigma: float = 0.7
    name: str = "limit"


def clipped_wait(case: Limit) -> Amounts:
    found = clipped_outputs.clipped(
        arrival_rate=case.rate, per_token=case.per_token, most=case.most, mu=case.mu, sigma=case.sigma
    )
    return {"wait_mean": found.mean_wait, "clipped_share": found.clipped_share}


def one_slot(case: Limit, customers: int, seed: int, replication: int) -> Amounts:
    """Mean wait before the first step, past an eighth of the requests, and the share of answers that were cut."""
    step = Affine(per_step=case.per_token, per_prefill_token=0, per_decode=0)
    lengths = Lengths(input=1, output=case.most)
    scenario = engine(rate=case.rate, lengths=lengths, max_num_seqs=1, step_time=step)
    arrivals, answers = (stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    wanted = np.ceil(answers.lognormal(case.mu, case.sigma, customers)).astype(np.int64)
    found = run_compiled(
        scenario,
        Requests(
            arrival=arrivals.exponential(1 / case.rate, customers).cumsum(),
            input_tokens=np.ones(customers, np.int64),
            output_tokens=np.minimum(wanted, case.most),
        ),
    ).requests
    wait = (found["scheduled"] - found["arrival"]).to_numpy()[customers // 8 :]
    return {"wait_mean": float(wait.mean()), "clipped_share": float((wanted > case.most).mean())}


# T9: sizes exponential of mean 1, the prediction of one exponential of mean its size


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """One server at utilisation ``rate`` that serves by ``order``."""

    order: str
    rate: float = 0.9
    name: str = "predicted"


ORDERS: dict[str, tuple[Callable[[float], float], float, str, bool, str]] = {
    "FIFO": (predicted_sizes.first_come, 10.0, "arrival", False, "1/(1 - rate)"),
    "SJF": (predicted_sizes.shortest_job_first, 4.197, "size", False, "1 + int e^-x rate/(1-rho_x)^2"),
    "SPJF": (predicted_sizes.shortest_predicted_job_first, 5.361, "predicted", False, "1 + int f rate/(1-rho_y)^2"),
    "SRPT": (predicted_sizes.shortest_remaining_first, 3.552, "size", True, "int e^-x A/(1-rho_x)^2 + int dt/(1-rho)"),
    "SPRPT": (
        predicted_sizes.shortest_predicted_remaining_first,
        5.097,
        "predicted",
        True,
        "int f A/(1-rho_y)^2 + int dt/(1-rho)",
    ),
}
"""Of each order its formula, the number that was stated, the key, whether it preempts, and the formula in words."""


def mean_response(case: Predicted) -> Amounts:
    return {"response_mean": ORDERS[case.order][0](case.rate)}


def one_server(case: Predicted, customers: int, seed: int, replication: int) -> Amounts:
    """Mean response past an eighth of the jobs."""
    arrivals, sizes, guesses = (stream(seed, replication, cause) for cause in ("arrivals", "sizes", "predictions"))
    arrival = arrivals.exponential(1 / case.rate, customers).cumsum()
    size = sizes.exponential(1.0, customers)
    keys = {"arrival": arrival, "size": size, "predicted": size * guesses.exponential(1.0, customers)}
    _, _, key, preempts, _ = ORDERS[case.order]
    finish = finishes(arrival, size, keys[key], preempts=preempts)
    return {"response_mean": float((finish - arrival)[customers // 8 :].mean())}


def _clipped(most: int, wait: float, share: float) -> Theorem:
    return Theorem(
        theorem="T8",
        title=f"answers cut at {most:,}",
        written="rate E[S^2]/(2 (1 - rho))",
        claim="one request at a time, a lognormal answer cut at a limit: M/G/1",
        scenario=Limit(most=most),
        margins={"wait_mean": MEAN, "clipped_share": MEAN},
        formula=clipped_wait,
        witness=one_slot,
        customers=10_000,
        pace=4e5,
        units={"wait_mean": "s", "clipped_share": ""},
        numbers={"wait_mean": wait, "clipped_share": share},
    )


def _predicted(order: str) -> Theorem:
    _, number, _, _, written = ORDERS[order]
    return Theorem(
        theorem="T9",
        title=f"{order}, rate .9",
        written=written,
        claim="one server, exponential sizes, the prediction of each exponential with the size as its mean",
        scenario=Predicted(order=order),
        margins={"response_mean": MEAN},
        formula=mean_response,
        witness=one_server,
        customers=100_000,
        pace=8e6,
        units={"response_mean": "mean size"},
        numbers={"response_mean": number},
    )


def twins() -> tuple[Theorem, ...]:
    """The line of T5, T8 and T9."""
    rule = Theorem(
        theorem="T5",
        title="a class left waiting, 3 of 4",
        written="sum 1/(1-z) - (b(b-1) - rate^2)/(2(b-rate))",
        claim="a whole number of a class is admitted in each step: a bulk queue",
        scenario=Rule(),
        margins={"waiting": 0.02},
        formula=left_waiting,
        witness=one_line,
        customers=20_000,
        pace=3e6,
        units={"waiting": "request"},
        numbers={"waiting": 0.80088},
    )
    return (rule, _clipped(1_600, 22.340, 0.2947), _clipped(3_000, 55.365, 0.07526), *map(_predicted, ORDERS))
