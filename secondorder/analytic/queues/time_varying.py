"""A queue whose rate and servers are constant through each hour of a cycle, and change between the hours."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, one
from secondorder.errors import InputError, Unstable

MOST_TERMS, MOST_STATES, MOST_PRODUCTS, MOST_CYCLES = 40_000, 4_096, 5e7, 400
"""At most: events of an hour, customers, products in a cycle, and cycles until they repeat."""
NEGLIGIBLE = 1e-9
"""Probability of a full house at any time, and difference between two cycles, that count as none."""


class Cycle(NamedTuple):
    """What ``solve`` finds: mean wait (s) and share of those who wait over the cycle; mean number hour by hour."""

    mean_wait: float
    prob_wait: float
    mean_number: Floats


def solve(*, arrival_rates: npt.ArrayLike, service_rate: float, servers: npt.ArrayLike, hour: float = 3600.0) -> Cycle:
    """An M(t)/M/c(t) queue in its periodic state, by the forward equations of its Markov chain.

    Its states are the number of customers and how many servers have gone off duty and still finish: who is done first
    goes. Within an hour their law is ``p(t) = sum_k Poisson(k; q t) p(0) P^k``, ``P = I + Q/q`` (uniformisation),
    and so is its integral, with tails of the Poisson law. By Little's law over a cycle the mean wait is
    ``integral E[waiting] dt / integral lambda dt``; who waits, ``integral lambda P(all on duty are busy) dt`` over the
    same.

    *Exact* to 1e-8 for exponential services. ``arrival_rates`` and ``service_rate`` in 1/s, ``servers`` whole, one
    value an hour; ``hour`` in s. Errors: ``Unstable`` where a cycle brings more work than its servers do;
    ``InputError`` where an hour has more than 40,000 events or the chain is too large: the pointwise formulas then
    serve.

    *Source*: Jensen 1953 (uniformisation); Green, Kolesar and Whitt, Coping with time-varying demand when setting
    staffing requirements (2007), section 3.

    >>> steady = solve(arrival_rates=[0.8], service_rate=1.0, servers=[1], hour=1000.0)    # M/M/1
    >>> round(steady.mean_wait, 6), round(steady.prob_wait, 6)
    (4.0, 0.8)
    """
    rates, count = np.asarray(arrival_rates, float), np.asarray(servers, float)
    mu, hour = one("service_rate", service_rate), one("hour", hour)
    if rates.shape != count.shape or rates.min() < 0 or not rates.sum():
        raise InputError("arrival_rates", given=rates.tolist(), expected="a rate of at least 0 an hour, as servers")
    if rates.sum() >= mu * count.sum():
        raise Unstable(
            f"work of {rates.sum() / mu:.6g} server-hours in a cycle of {count.sum():.6g}: the queue grows without "
            "limit; add servers or lower the rates"
        )
    leaving = int(max(np.roll(count, 1) - count).clip(0))
    speed = float((rates + count * mu).max()) + leaving * mu
    if speed * hour > MOST_TERMS:
        given = f"an hour of {speed * hour:.4g} events"
        raise InputError("hour", given=given, expected=f"at most {MOST_TERMS:,}; use the pointwise formulas")
    states = 64 + int(2 * count.max())
    while states <= MOST_STATES and states * (leaving + 1) * len(rates) * speed * hour <= MOST_PRODUCTS:
        found = _periodic(_Chain(rates, mu, count, speed, leaving, states), hour)
        if found is not None:
            return found
        states *= 2
    given = f"more than {states // 2:,} customers at a time"
    raise InputError("servers", given=given, expected="a smaller chain; use the pointwise formulas")


class _Chain(NamedTuple):
    """Rates and servers by the hour, steps a second, and room: for servers who finish and for customers."""

    rates: Floats
    mu: float
    servers: Floats
    speed: float
    leaving: int
    states: int


def _periodic(chain: _Chain, hour: float) -> Cycle | None:
    """The periodic state with room for a number of customers; None where they do not find room."""
    weights, tails = _series(chain.speed * hour)
    finish, number = np.ogrid[: chain.leaving + 1, : chain.states]
    law, step = np.zeros((chain.leaving + 1, chain.states)), chain.mu / chain.speed
    law[0, 0] = 1.0
    for _ in range(MOST_CYCLES):
        start, waiting, met, inside, before = law, 0.0, 0.0, [], chain.servers[-1]
        for rate, servers in zip(chain.rates, chain.servers, strict=True):
            law, before = _go_off(law, int(before), int(servers)), servers
            served = np.clip(number - finish, 0, servers) + np.minimum(finish, number)
            regular, finishing = ((finish == 0) * served * step, (finish > 0) * served * step)
            law, average = _hour(law, rate / chain.speed, regular, finishing, weights, tails)
            if average[:, -1].sum() > NEGLIGIBLE:
                return None
            waiting += float((average * np.maximum(number - finish - servers, 0)).sum())
            met += rate * float(average[number - finish >= servers].sum())
            inside.append(float((average * number).sum()))
        if np.abs(law - start).sum() < NEGLIGIBLE:
            total = float(chain.rates.sum())
            return Cycle(waiting / total, float(met / total), np.array(inside))
    raise InputError("arrival_rates", given=f"no repetition after {MOST_CYCLES} cycles", expected="a lower load")


def _go_off(law: Floats, before: int, servers: int) -> Floats:
    """The law once servers go off duty: the idle first, and those who are busy finish."""
    if servers >= before:
        return law
    found = np.zeros_like(law)
    last = len(law) - 1
    for finish, number in zip(*np.nonzero(law), strict=True):
        busy = min(max(number - finish, 0), before)
        found[min(finish + max(busy - servers, 0), last), number] += law[finish, number]
    return found


def _series(events: float) -> tuple[Floats, Floats]:
    """Poisson probabilities of 0, 1, ... and the tails over their mean, up to where both are negligible."""
    last = int(events + 8 * math.sqrt(events) + 30)
    k = np.arange(last + 1)
    logs = k * math.log(events) - events - np.cumsum(np.log(np.maximum(k, 1)))
    weights: Floats = np.exp(logs)
    return weights, np.maximum(1 - np.cumsum(weights), 0) / events


def _hour(
    law: Floats, up: float, regular: Floats, finishing: Floats, weights: Floats, tails: Floats
) -> tuple[Floats, Floats]:
    """The law at the end of an hour, and its average over it; the others are the chain's steps, and how many."""
    end, average = np.zeros_like(law), np.zeros_like(law)
    stay = 1 - up - regular - finishing
    stay[:, -1] += up
    for weight, tail in zip(weights, tails, strict=True):
        end += weight * law
        average += tail * law
        following = stay * law
        following[:, 1:] += up * law[:, :-1]
        following[:, :-1] += regular[:, 1:] * law[:, 1:]
        following[:-1, :-1] += finishing[1:, 1:] * law[1:, 1:]
        law = following
    return end, average
