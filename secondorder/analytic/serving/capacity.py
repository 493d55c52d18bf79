"""The textbook capacity answer, and the one that counts prefill.

Kept because it is what people compute: a replica is one server whose service time is
``1/throughput``, the wait is Erlang's, and the p99 is a quantile of the wait plus the mean
service. It ignores prefill, and that the p99 of a sum is not the sum of a p99 and a mean.
"""

import math
from dataclasses import dataclass

from secondorder.analytic.queues.erlang import erlang_c
from secondorder.analytic.serving.idle import idle
from secondorder.analytic.serving.saturation import demand
from secondorder.errors import InputError
from secondorder.scenarios.serving import Serving


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """``replicas`` needed, the ``service_rate`` of one (request/s), and their utilisation."""

    replicas: int
    service_rate: float
    utilisation: float


def decode_only_rate(scenario: Serving) -> float:
    """First-order rate of a replica, request/s: output tokens per second of a full batch over ``E[O]``.

    ``B / (T(B) E[O])`` with every slot decoding and no prompt ever computed.
    """
    need = demand(scenario)
    batch = float(min(scenario.settings.max_num_seqs, scenario.kv_tokens / need.held))
    step = float(scenario.step_seconds(0.0, 0.0, 0.0, batch, batch * need.decode_context, batch))
    return batch / (step * scenario.offered.mean_output)


def textbook_capacity(scenario: Serving, rate: float, *, p99: float) -> Capacity:
    """Replicas for ``rate`` request/s and a p99 latency (s), as a textbook computes them.

    Least ``c`` with ``ln(100 C)/(c mu - rate) + E[S] <= p99``, ``mu`` the decode-only rate,
    ``C`` Erlang's probability of waiting, ``E[S]`` the mean latency of an idle replica.
    *Approximation that breaks*: see the module. ``InputError`` if ``p99`` is below ``E[S]``.
    """
    mu = decode_only_rate(scenario)
    alone = idle(scenario)
    service = float(alone.e2el @ alone.weight)
    if service >= p99:
        raise InputError(
            "p99", given=f"{p99:.3g} s", expected=f"more than the mean latency {service:.3g} s of an idle replica"
        )
    replicas = math.floor(rate / mu) + 1
    while _wait_p99(rate, mu, replicas) + service > p99:
        replicas += 1
    return Capacity(replicas=replicas, service_rate=mu, utilisation=rate / (replicas * mu))


def _wait_p99(rate: float, mu: float, replicas: int) -> float:
    waits = float(erlang_c(rate / mu, replicas))
    return max(0.0, math.log(100 * waits) / (replicas * mu - rate)) if waits > 0 else 0.0
