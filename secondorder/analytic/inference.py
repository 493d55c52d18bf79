"""Kernels launched by a host and executed by a device: taxes added up, overlapped, and with variability.

``launch`` and ``execution`` are the mean times of one kernel in s, ``..._scv`` their squared coefficients of variation,
``kernels`` those of a step, ``queue_depth`` how many may wait for the device.

=====  ===================================================================================================
order  latency of a step that begins with an empty device
=====  ===================================================================================================
0      ``kernels (launch + execution)``: every tax paid in turn, nothing overlaps
1      ``kernels max + min`` of the two: the slower of the two sets the pace, the other fills once
2      ``+ sum E[W_n+]/n``: the maximum of a random walk, as the slower one does not always lead
=====  ===================================================================================================

Steps that follow each other without a wait have the throughput of a queue of finite length between the two, and the
mean latency ``(kernels + n) tau``: ``tau`` the mean time between kernels, ``n`` how many the device has before it.
"""

import math
from typing import NamedTuple

import numpy as np

from secondorder.analytic.arguments import (
    Floats,
    Real,
    Whole,
    fraction,
    non_negative,
    one,
    one_whole,
    plain,
    positive,
    whole,
)
from secondorder.answers.answer import Answer
from secondorder.answers.declared import INFERENCE
from secondorder.answers.estimate import Claim, Rung
from secondorder.answers.metric import units_of
from secondorder.errors import InputError
from secondorder.laws import Exponential
from secondorder.scenarios.inference import Inference

NODES = 64
"""Nodes of each quadrature."""
MOST_STATES = 1_000_000
"""States of the chain of exponential times up to which it is solved."""
MOST_WORK = 300_000_000
"""States times jumps, up to which its quantile is computed."""
SMALL = 0.0025
"""Variance of the times over the kernels, up to which the normal quantile of a step was within 1 % of simulations."""


# A step by itself


def sum_of_taxes(*, launch: Real, execution: Real, kernels: Whole) -> Real:
    """Time of a step in which each kernel is launched and awaited: ``kernels (launch + execution)``, in s.

    *Exact* mean where the host waits for every kernel; *upper bound* where launches overlap executions.
    All broadcast. Errors: ``InputError``. *Source*: linearity of the mean.

    >>> round(sum_of_taxes(launch=5e-6, execution=8e-6, kernels=50) * 1e6, 6)
    650.0
    """
    return plain(whole("kernels", kernels) * (positive("launch", launch) + positive("execution", execution)))


def overlapped(*, launch: Real, execution: Real, kernels: Whole) -> Real:
    """Time of a step whose launches overlap executions: ``kernels max(launch, execution) + min(launch, execution)``.

    *Exact* without variability, at any queue depth; *lower bound* of the mean with it (the latency is convex in the
    times). All broadcast. Errors: ``InputError``. *Source*: Jackson 1963, a flow line of two machines.

    >>> round(overlapped(launch=5e-6, execution=8e-6, kernels=50) * 1e6, 6)
    405.0
    """
    host, device = positive("launch", launch), positive("execution", execution)
    return plain(whole("kernels", kernels) * np.maximum(host, device) + np.minimum(host, device))


def walk_mean(
    *, launch: float, execution: float, launch_scv: float = 0.0, execution_scv: float = 0.0, kernels: int
) -> float:
    """Mean time of a step, in s: ``kernels execution + launch + sum over n < kernels of E[W_n+]/n``.

    The latency is the last passage through two rows, ``launch_1 + sum execution + max W``, ``W`` the walk whose steps
    are ``launch - execution``; ``W_n`` is taken as normal: ``E[W_n+] = s phi(m/s) + m Phi(m/s)``.
    *Exact* for normal times, and within 1 % for exponential ones of 20 kernels or more; for ``queue_depth >=
    kernels - 1``, as the host is never held up. One number each. Errors: ``InputError``.
    *Source*: Spitzer, A combinatorial lemma (1956), theorem 3.1; Glynn and Whitt 1991 for the last passage.

    >>> round(walk_mean(launch=1.0, execution=1.0, launch_scv=1.0, execution_scv=1.0, kernels=50), 2)  # exact 57.96
    58.11
    """
    host, device, count = one("launch", launch), one("execution", execution), one_whole("kernels", kernels)
    return count * device + host + _mean_maximum(count - 1, *_walk(host, device, launch_scv, execution_scv))


def walk_quantile(
    p: float, *, launch: float, execution: float, launch_scv: float = 0.0, execution_scv: float = 0.0, kernels: int
) -> float:
    """The time in s that a fraction ``p`` of the steps do not exceed.

    ``sum execution`` and the end of ``W`` are jointly normal; given that end, the maximum of Brownian motion has
    ``P(M > m | end) = exp(-2 m (m - end)/variance)``. Both are integrated over, and the whole is shifted to
    ``walk_mean``. *Approximation*, asymptotically exact; within 1 % where the scv's are at most ``SMALL kernels``.
    One number each. Errors: ``InputError``. *Source*: Borodin and Salminen, Handbook of Brownian Motion (2002), 1.1.8.

    >>> scv = {"launch_scv": 0.25, "execution_scv": 0.25}
    >>> round(walk_quantile(0.99, launch=1.0, execution=1.0, kernels=50, **scv), 1)  # simulated 62.5
    61.9
    """
    level = float(fraction("p", p))
    host, device, count = one("launch", launch), one("execution", execution), one_whole("kernels", kernels)
    mean = walk_mean(launch=host, execution=device, launch_scv=launch_scv, execution_scv=execution_scv, kernels=count)
    drift, spread = _walk(host, device, launch_scv, execution_scv)
    if spread == 0:
        return mean
    n, own = count - 1, execution_scv * device**2
    node, weight = np.polynomial.hermite_e.hermegauss(NODES)
    unit, share = np.polynomial.legendre.leggauss(NODES)
    end = n * drift + spread * math.sqrt(n) * node[:, None]
    highest = (end + np.sqrt(end**2 - 2 * n * spread**2 * np.log((unit + 1) / 2))) / 2
    centre = (count * device + host - own / spread**2 * (end - n * drift) + highest).ravel()
    weights = (weight[:, None] * share).ravel() / (2 * math.sqrt(2 * math.pi))
    rest = math.sqrt(n * own * (spread**2 - own) / spread**2 + spread**2)
    return _mixture_quantile(level, centre + mean - float(weights @ centre), weights, rest)


# Exponential times


class Tandem(NamedTuple):
    """Exponential launches and executions: mean times in s, and the kernels that may wait between them."""

    launch: float
    execution: float
    queue_depth: int


def exponential_mean(*, launch: float, execution: float, kernels: int, queue_depth: int = 1024) -> float:
    """Mean time of a step with exponential launches and executions, in s.

    ``T(i,j) = [1 + a T(i-1,j+1) + b T(i,j-1)]/(a + b)`` with ``i`` kernels to launch and ``j`` launched, ``a`` and
    ``b`` the rates; at ``j = queue_depth + 2`` the host is held up. *Exact*. One number each; ``InputError`` above a
    million states. *Source*: first passage of a Markov chain; at equal rates Johansson 2000, 2 x ``kernels``.

    >>> exponential_mean(launch=1.0, execution=1.0, kernels=2)
    3.5
    """
    chain = _chain(launch, execution, kernels, queue_depth)
    return float(_first_passage(chain, kernels)[0])


def exponential_quantile(
    p: float, *, launch: float, execution: float, kernels: int, queue_depth: int = 1024, following: bool = False
) -> float:
    """The time in s that a fraction ``p`` of the steps do not exceed, with exponential launches and executions.

    ``P(T > t) = sum over n of Poisson(n; (a + b) t) P(not done after n jumps)``. With ``following`` the step finds the
    queue as it is in the long run when the host begins it, else empty. *Exact*, to 1e-9. One number each;
    ``InputError`` where that takes too long. *Source*: Jensen's uniformisation (1953).

    >>> round(exponential_quantile(0.99, launch=1.0, execution=1.0, kernels=1), 6)  # Erlang of two phases
    6.638352
    """
    level, chain = float(fraction("p", p)), _chain(launch, execution, kernels, queue_depth)
    begin = _found(chain) if following else np.array([1.0])
    return _absorbed_quantile(level, chain, kernels, begin)


def exponential_interval(*, launch: Real, execution: Real, queue_depth: Whole) -> Real:
    """Mean time between kernels in the long run, in s, with exponential times: ``execution / (1 - pi_0)``.

    ``pi_j`` falls or grows as ``(execution/launch)^j``, ``j = 0 .. queue_depth + 2``. *Exact*. All broadcast.
    Errors: ``InputError``. *Source*: M/M/1 with a finite room; Hunt 1956, sequential arrays of waiting lines.

    >>> exponential_interval(launch=1.0, execution=1.0, queue_depth=1)
    1.3333333333333333
    """
    host, device = positive("launch", launch), positive("execution", execution)
    most = np.asarray(whole("queue_depth", queue_depth) + 2.0, dtype=np.float64)
    return plain(device / (1 - _idle(device / host, most)))


# Steps that follow each other


def interval(
    *, launch: Real, execution: Real, launch_scv: Real = 0.0, execution_scv: Real = 0.0, queue_depth: Whole = 1024
) -> Real:
    """Mean time between kernels in the long run, in s: ``1 / (b - idle)``.

    The backlog is Brownian motion between 0 and ``B = queue_depth + 3`` with drift ``d = a - b`` and variance
    ``v = a scv_a + b scv_b``; the device idles at rate ``d/(exp(2 d B/v) - 1)``, and ``v/(2 B)`` without drift.
    *Exact* without variability and for exponential times of equal mean; else an *approximation*, good as
    ``queue_depth`` grows. All broadcast. Errors: ``InputError``.
    *Source*: Harrison, Brownian Motion and Stochastic Flow Systems (1985), section 5.6.

    >>> interval(launch=1.0, execution=1.0, launch_scv=1.0, execution_scv=1.0, queue_depth=1)
    1.3333333333333333
    >>> interval(launch=5e-6, execution=8e-6)
    8e-06
    """
    host, device = positive("launch", launch), positive("execution", execution)
    a, b = 1 / host, 1 / device
    variance = a * non_negative("launch_scv", launch_scv) + b * non_negative("execution_scv", execution_scv)
    reach = whole("queue_depth", queue_depth) + 3.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = 2 * (a - b) * reach / variance
        shy = np.where(np.abs(x) < 1e-9, 1 - x / 2, x / np.expm1(x))  # x/(e^x - 1)
        idle = np.where(variance == 0, np.maximum(b - a, 0), variance / (2 * reach) * shy)
    exact = np.where(variance == 0, np.maximum(host, device), 1 / (b - idle))
    return plain(exact)


def backlog(
    *, launch: float, execution: float, launch_scv: float = 0.0, execution_scv: float = 0.0, queue_depth: int = 1024
) -> float:
    """Mean number of kernels that wait for the device or are in it, in the long run.

    Where the host is clearly the slower, ``r + r^2 (scv_a + scv_b)/(2 (1 - r))``, ``r = execution/launch``; where the
    device is, ``queue_depth + 1`` less the free places' ``r^2 (scv_a + scv_b)/(2 (1 - r))``, ``r = launch/execution``;
    between the two, the mean of an exponential cut off at ``queue_depth + 2``.
    *Exact* without variability; else an *approximation*. One number each. Errors: ``InputError``.
    *Source*: Kingman's heavy traffic; duality of kernels and free places; Harrison 1985, section 5.6.

    >>> backlog(launch=10e-6, execution=5e-6), backlog(launch=5e-6, execution=10e-6, queue_depth=16)
    (0.5, 17.0)
    """
    host, device, places = one("launch", launch), one("execution", execution), one_whole("queue_depth", queue_depth)
    scv = float(non_negative("launch_scv", launch_scv)) + float(non_negative("execution_scv", execution_scv))
    ratio = min(host, device) / max(host, device)
    waiting = ratio**2 * scv / (2 * (1 - ratio)) if ratio < 1 else (math.inf if scv else 0.0)
    if waiting > places / 4:
        a, b = 1 / host, 1 / device
        theta = 2 * (a - b) / (a * launch_scv + b * execution_scv) * (places + 2)
        return (places + 2) * (0.5 + theta / 12 if abs(theta) < 1e-4 else 1 / -math.expm1(-theta) - 1 / theta)
    return ratio + waiting if host >= device else places + 1 - waiting


def exponential_backlog(*, launch: float, execution: float, queue_depth: int = 1024) -> float:
    """Mean number of kernels that wait for the device or are in it, in the long run, with exponential times.

    *Exact*: the mean of ``min(j, queue_depth + 1)`` under ``pi``. One number each. Errors: ``InputError``.
    *Source*: as ``exponential_interval``.

    >>> exponential_backlog(launch=1.0, execution=1.0, queue_depth=1)
    1.25
    """
    host, device, places = one("launch", launch), one("execution", execution), one_whole("queue_depth", queue_depth)
    states = np.arange(places + 3)
    return float(_long_run(device / host, places + 2) @ np.minimum(states, places + 1))


# The ladder


def solve_inference(scenario: Inference) -> Answer:
    """The ladder of each metric: order 0 the sum of taxes, 1 overlapped means, 2 with variability and a finite queue.

    ``latency_mean``, ``latency_p99`` (s): of a step; ``throughput`` (sample/s): inputs; ``device_utilisation``: share
    of the time in which a kernel executes.
    """
    rungs = [_taxes(scenario), _means(scenario)]
    rungs.append(_alone(scenario) if scenario.synchronise else _following(scenario))
    rows = [
        Rung(
            metric=metric,
            amount=amount,
            unit=unit,
            source=rung.source,
            order=order,
            claim=rung.claim,
            outside=rung.doubt.get(metric, ""),
        )
        for metric, unit in units_of(INFERENCE).items()
        for order, rung in enumerate(rungs)
        if (amount := rung.amounts.get(metric)) is not None
    ]
    binds = "host" if scenario.host_bound else "device"
    how = f"{scenario.kernels:,} kernels a step, launched in {scenario.launch_seconds * 1e6:.3g} µs and executed in "
    how += f"{scenario.kernel_seconds * 1e6:.3g} µs each: bound by the {binds}"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


class _Rung(NamedTuple):
    source: str
    claim: Claim
    amounts: dict[str, float | None]
    doubt: dict[str, str]


def _rung(
    scenario: Inference,
    source: str,
    claim: Claim,
    mean: float,
    p99: float | None,
    step: float,
    doubt: dict[str, str] | None = None,
) -> _Rung:
    """``step``: mean time from one step to the next, in s."""
    amounts = {
        "latency_mean": mean,
        "latency_p99": p99,
        "throughput": scenario.batch_size / step,
        "device_utilisation": scenario.kernels * scenario.kernel_seconds / step,
    }
    return _Rung(source, claim, amounts, doubt or {})


def _taxes(scenario: Inference) -> _Rung:
    whole_ = sum_of_taxes(launch=scenario.launch_seconds, execution=scenario.kernel_seconds, kernels=scenario.kernels)
    return _rung(scenario, "sum of taxes", Claim.BOUND, float(whole_), float(whole_), float(whole_))


def _means(scenario: Inference) -> _Rung:
    host, device, kernels = scenario.launch_seconds, scenario.kernel_seconds, scenario.kernels
    claim = Claim.BOUND if scenario.launch_scv or scenario.kernel_scv else Claim.APPROXIMATION
    if scenario.synchronise:
        latency = float(overlapped(launch=host, execution=device, kernels=kernels))
        return _rung(scenario, "overlapped means", claim, latency, latency, latency)
    slower = max(host, device)
    latency = (kernels + backlog(launch=host, execution=device, queue_depth=scenario.queue_depth)) * slower
    return _rung(scenario, "overlapped means", claim, latency, latency, kernels * slower)


def _alone(scenario: Inference) -> _Rung:
    """Order 2 of a step that begins with an empty device."""
    host, device, kernels = scenario.launch_seconds, scenario.kernel_seconds, scenario.kernels
    if _exponential(scenario) and _states(kernels, scenario.queue_depth) <= MOST_STATES:
        queue = {"queue_depth": scenario.queue_depth}
        mean = exponential_mean(launch=host, execution=device, kernels=kernels, **queue)
        p99 = _affordable(scenario, following=False)
        return _rung(scenario, "tandem of exponentials", Claim.EXACT, mean, p99, mean)
    spreads = {"launch_scv": scenario.launch_scv, "execution_scv": scenario.kernel_scv}
    mean = walk_mean(launch=host, execution=device, kernels=kernels, **spreads)
    p99 = walk_quantile(0.99, launch=host, execution=device, kernels=kernels, **spreads)
    doubt: dict[str, str] = {}
    if max(spreads.values()) > SMALL * kernels:
        doubt["latency_p99"] = f"times of scv {max(spreads.values()):.3g} in {kernels} kernels are not yet normal"
    if scenario.queue_depth < kernels - 1 and any(spreads.values()):
        held = f"a queue of {scenario.queue_depth} may hold up the host in {kernels} kernels"
        doubt = dict.fromkeys(units_of(INFERENCE), held)
    return _rung(scenario, "maximum of a random walk", Claim.APPROXIMATION, mean, p99, mean, doubt)


def _following(scenario: Inference) -> _Rung:
    """Order 2 of steps that follow each other."""
    host, device, kernels = scenario.launch_seconds, scenario.kernel_seconds, scenario.kernels
    places = scenario.queue_depth
    if _exponential(scenario):
        tau = float(exponential_interval(launch=host, execution=device, queue_depth=places))
        mean = (kernels + exponential_backlog(launch=host, execution=device, queue_depth=places)) * tau
        p99 = _affordable(scenario, following=True)
        return _rung(scenario, "tandem of exponentials", Claim.EXACT, mean, p99, kernels * tau)
    spreads = {"launch_scv": scenario.launch_scv, "execution_scv": scenario.kernel_scv}
    tau = float(interval(launch=host, execution=device, queue_depth=places, **spreads))
    mean = (kernels + backlog(launch=host, execution=device, queue_depth=places, **spreads)) * tau
    still = not any(spreads.values())
    doubt: dict[str, str] = {}
    needed = max(FEWEST_PLACES, math.ceil(10 * max(spreads.values())) - 3)
    if not still and places < needed:
        short = f"a queue of {places} is too short for a diffusion ({needed} or more)"
        doubt = dict.fromkeys(units_of(INFERENCE), short)
    return _rung(
        scenario,
        "diffusion between two walls",
        Claim.APPROXIMATION,
        mean,
        mean if still else None,
        kernels * tau,
        doubt,
    )


FEWEST_PLACES = 8
"""Places in the queue from which (and from ten times the scv, less 3) the diffusion was within 1 % of simulation."""


def _exponential(scenario: Inference) -> bool:
    return isinstance(scenario.launch, Exponential) and isinstance(scenario.jitter, Exponential)


def _affordable(scenario: Inference, *, following: bool) -> float | None:
    """The exact p99, or None where it takes too long."""
    host, device, kernels = scenario.launch_seconds, scenario.kernel_seconds, scenario.kernels
    held = scenario.queue_depth + 1 if following else 0
    jumps = (1 / host + 1 / device) * (kernels + held) * max(host, device) * 1.5
    if _states(kernels, scenario.queue_depth, held) * jumps > MOST_WORK:
        return None
    return exponential_quantile(
        0.99, launch=host, execution=device, kernels=kernels, queue_depth=scenario.queue_depth, following=following
    )


# Walks


def _walk(host: float, device: float, launch_scv: float, execution_scv: float) -> tuple[float, float]:
    """Drift and standard deviation of a step of the walk, in s."""
    launch_scv = float(non_negative("launch_scv", launch_scv))
    execution_scv = float(non_negative("execution_scv", execution_scv))
    return host - device, math.sqrt(launch_scv * host**2 + execution_scv * device**2)


def _mean_maximum(count: int, drift: float, spread: float) -> float:
    """Of a normal walk of ``count`` steps and 0, by Spitzer's identity."""
    from scipy.special import ndtr

    if count == 0:
        return 0.0
    if spread == 0:
        return max(0.0, count * drift)
    n = np.arange(1.0, count + 1)
    s, m = spread * np.sqrt(n), drift * n
    z = m / s
    return float(np.sum((s * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) + m * ndtr(z)) / n))


def _mixture_quantile(p: float, centres: Floats, weights: Floats, spread: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import ndtr

    low, high = float(centres.min()) - 10 * spread, float(centres.max()) + 10 * spread
    return float(brentq(lambda t: float(weights @ ndtr((t - centres) / spread)) - p, low, high, rtol=1e-12))


# Chains


def _chain(launch: float, execution: float, kernels: int, queue_depth: int) -> Tandem:
    places, count = one_whole("queue_depth", queue_depth), one_whole("kernels", kernels)
    if _states(count, places) > MOST_STATES:
        given = f"{count:,} kernels and a queue of {places:,}"
        raise InputError("kernels", given=given, expected=f"at most {MOST_STATES:,} pairs of both")
    return Tandem(one("launch", launch), one("execution", execution), places)


def _states(kernels: int, queue_depth: int, held: int = 0) -> int:
    return (kernels + 1) * (min(kernels + held, queue_depth + 2) + 1)


def _first_passage(chain: Tandem, kernels: int) -> Floats:
    """``T(kernels, j)`` for each ``j`` that can be reached from a queue with none."""
    a, b, most = 1 / chain.launch, 1 / chain.execution, chain.queue_depth + 2
    row = [j * chain.execution for j in range(min(kernels, most) + 1)]
    for left in range(1, kernels + 1):
        reach = min(kernels - left, most)
        fresh = [chain.launch + row[1]]
        for j in range(1, reach + 1):
            held_up = j == most
            fresh.append(chain.execution + fresh[-1] if held_up else (1 + a * row[j + 1] + b * fresh[-1]) / (a + b))
        row = fresh
    return np.array(row)


def _long_run(ratio: float, most: int) -> Floats:
    """Probabilities that fall or grow as powers of ``ratio``, from 0 to ``most``."""
    logs = np.arange(most + 1) * math.log(ratio)
    powers = np.exp(logs - logs.max())
    return np.asarray(powers / powers.sum())


def _idle(ratio: Floats, most: Floats) -> Floats:
    """``(1 - r)/(1 - r^(most + 1))``, its limit at 1."""
    logs = np.log(ratio)
    near = np.abs(logs) < 1e-12
    safe = np.where(near, 1.0, logs)
    with np.errstate(over="ignore"):
        return np.asarray(np.where(near, 1 / (most + 1.0), np.expm1(safe) / np.expm1((most + 1) * safe)))


def _found(chain: Tandem) -> Floats:
    """Of each ``j``, the probability that the host finds it when it begins a launch: just after the one before."""
    pi = _long_run(chain.execution / chain.launch, chain.queue_depth + 2)
    found = np.zeros(chain.queue_depth + 2)
    found[1:] = pi[: chain.queue_depth + 1]
    found[-1] += pi[chain.queue_depth + 1]  # held up, then let go
    return np.asarray(found / found.sum())


def _absorbed_quantile(p: float, chain: Tandem, kernels: int, begin: Floats) -> float:
    """When the chain that begins with ``kernels`` to launch and ``begin`` launched is done with a probability ``p``."""
    from scipy.optimize import brentq
    from scipy.special import gammaln

    remaining = _survivals(chain, kernels, begin)
    rate, n = 1 / chain.launch + 1 / chain.execution, np.arange(len(remaining))
    logs = gammaln(n + 1.0)

    def late(t: float) -> float:
        return float(np.exp(n * math.log(rate * t) - rate * t - logs) @ remaining) - (1 - p)

    high = chain.execution
    while late(high) > 0:
        high *= 2
    return float(brentq(late, high / 2 if high > chain.execution else 1e-9 * high, high, rtol=1e-12))


def _survivals(chain: Tandem, kernels: int, begin: Floats) -> Floats:
    """``P(not done after n jumps)`` of the chain that jumps at the sum of both rates, until it is below 1e-13."""
    a = chain.execution / (chain.launch + chain.execution)  # share of the host's jumps
    most = min(kernels + len(begin) - 1, chain.queue_depth + 2)
    state = np.zeros((kernels + 1, most + 1))  # to launch, launched
    state[kernels, : len(begin)] = begin
    left = []
    while (alive := float(state.sum() - state[0, 0])) > 1e-13:
        left.append(alive)
        launched = a * state[1:, :most]
        fresh = (1 - a) * np.pad(state[:, 1:], ((0, 0), (0, 1)))
        fresh[:-1, 1:] += launched
        fresh[:, 0] += (1 - a) * state[:, 0]  # no kernel there
        fresh[0, :] += a * state[0, :]  # none to launch
        fresh[1:, most] += a * state[1:, most]  # held up
        state = fresh
    return np.array(left)
