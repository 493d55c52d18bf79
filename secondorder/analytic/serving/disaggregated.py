"""Prefill and decode on replicas of their own: which of them binds, and what a request sees.

Prompts no longer hold up decodes, which makes the time per token smaller and even. The price is the transfer of the
cache, and that neither kind of replica can help the other: a step with prompts and decodes uses arithmetic and
memory at once, and a replica that does only one of the two leaves half of itself idle. At the same number of
replicas the collocated engine therefore often carries more, and the split one keeps a tighter time per token.
"""

from dataclasses import dataclass

import numpy as np

from secondorder.analytic.arguments import Floats, Real, one_whole, positive
from secondorder.analytic.queues.single_server import mean_wait
from secondorder.analytic.serving.disaggregated_loop import solve_loop
from secondorder.analytic.serving.idle import weighted_quantile
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import Saturation, saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Rung, bound, rung, rungs
from secondorder.answers.metric import QUANTILES
from secondorder.errors import Unstable
from secondorder.scenarios.disaggregated import Disaggregated

SOURCE = "bulk prefill queue, link, processor sharing"
TOGETHER = "the same replicas, collocated"
BUSY_LINK = 0.3
"""Utilisation of a link from which waits for it are worth a warning."""


def matched_split(*, prefill_rate: Real, decode_rate: Real, replicas: int) -> tuple[int, int]:
    """The split of ``replicas`` into prefill and decode replicas with the highest rate of the slower kind.

    ``max over p of min(p prefill_rate, (n - p) decode_rate)``, both kinds at least one; rates in request/s of one
    replica. *Exact*. Errors: ``InputError``. *Source*: balance of a tandem.

    >>> matched_split(prefill_rate=10.0, decode_rate=30.0, replicas=4)
    (3, 1)
    """
    count = one_whole("replicas", replicas, least=2)
    prefill = np.arange(1, count)
    served = np.minimum(
        prefill * positive("prefill_rate", prefill_rate), (count - prefill) * positive("decode_rate", decode_rate)
    )
    best = int(prefill[served.argmax()])
    return best, count - best


def transfer_wait(*, arrival_rate: Real, transfer: Floats, weight: Floats) -> Real:
    """Mean wait in s for a link that carries one cache at a time: ``rate E[T^2] / (2 (1 - rate E[T]))``.

    ``transfer`` in s and ``weight`` are the law of a transfer. *Approximation*: caches come Poisson (they come as
    prefill steps end, several at once where prompts are short against the budget). ``Unstable`` at full load.
    *Source*: Pollaczek-Khinchine.

    >>> round(transfer_wait(arrival_rate=50.0, transfer=np.array([0.01]), weight=np.ones(1)), 6)
    0.005
    """
    mean = float(transfer @ weight)
    scv = float(transfer**2 @ weight) / mean**2 - 1 if mean > 0 else 0.0
    if mean == 0:
        return 0.0
    return mean_wait(arrival_rate=arrival_rate, mean_service=mean, service_scv=max(scv, 0.0))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Request/s that each part of the system can carry, all its replicas together."""

    prefill: float
    link: float
    decode: float

    @property
    def rate(self) -> float:
        """Of the system: that of its slowest part."""
        return min(self.prefill, self.link, self.decode)

    @property
    def binds(self) -> str:
        """The slowest part."""
        parts = {"prefill": self.prefill, "link": self.link, "decode": self.decode}
        return min(parts, key=parts.__getitem__)


def limits(scenario: Disaggregated) -> Limits:
    """What each part can carry: ``replicas saturation`` of each kind, and ``replicas / E[transfer]`` of the links.

    *Valid* as ``serving.saturation`` is, of which it takes the rates of a replica of each kind.
    """
    prompts, _, weight = (np.asarray(part, float) for part in scenario.serving.offered.grid())
    transfer = float(scenario.transfer_seconds(prompts) @ weight)
    return Limits(
        prefill=scenario.prefill_replicas * saturation(scenario.prefill).rate,
        link=scenario.prefill_replicas / transfer if transfer > 0 else np.inf,
        decode=scenario.decode_replicas * _decode_limit(scenario).rate,
    )


def _decode_limit(scenario: Disaggregated) -> Saturation:
    return saturation(scenario.decode)


def solve_disaggregated(scenario: Disaggregated) -> Answer:
    """Orders 0 and 2 of a split system, and of the same number of collocated replicas.

    ``ttft = wait + prefill + transfer``; its p99 takes the three as rising together, as they do with the prompt's
    length. ``tpot`` is that of a decode replica, ``e2el`` the sum with the wait to join it. ``collocated_...`` are
    the metrics of as many engines that do both. With ``users``: ``disaggregated_loop``. ``Unstable`` names the part
    that cannot carry the load.
    """
    if scenario.users is not None:
        return solve_loop(scenario)
    scenario.serving.check_law()
    found, rate = limits(scenario), scenario.rate
    parts = (
        ("prefill replicas", found.prefill, "add prefill replicas"),
        ("links", found.link, "use a faster link"),
        ("decode replicas", found.decode, "add decode replicas"),
    )
    if short := [part for part in parts if rate >= part[1]]:
        carried = " and ".join(f"the {part} carry {most:.4g} together" for part, most, _ in short)
        remedy = ", ".join(each for *_, each in short)
        raise Unstable(f"{scenario.name}: {rate:.4g} request/s offered, but {carried}; {remedy}, or lower the rate")
    rows = [*_alone(scenario), *_loaded(scenario)]
    rows += [
        _row("saturation_rate", found.rate, "request/s", note=f"bound by the {found.binds}"),
        _row("prefill_saturation_rate", found.prefill, "request/s"),
        _row("decode_saturation_rate", found.decode, "request/s"),
        _row("utilisation", rate / found.rate, ""),
        *_collocated(scenario),
    ]
    split = f"{scenario.prefill_replicas} prefill and {scenario.decode_replicas} decode replicas"
    how = f"closed forms of {split} at {rate:.4g} request/s, bound by the {found.binds}"
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=how)


def _alone(scenario: Disaggregated) -> list[Rung]:
    """Order 0: a request alone, with its transfer."""
    from secondorder.analytic.serving.idle import idle

    serving = scenario.serving
    prompts, outputs, _ = (np.asarray(part, float) for part in serving.offered.grid())
    one = idle(serving)
    ttft = one.ttft + scenario.transfer_seconds(prompts)
    rows = [("ttft_mean", float(ttft @ one.weight)), ("ttft_p99", weighted_quantile(ttft, one.weight, 0.99))]
    kept = outputs > 1
    if kept.any():
        rows += [("tpot_mean", float(one.tpot[kept] @ one.weight[kept]) / float(one.weight[kept].sum()))]
    rows += [("e2el_mean", float((one.e2el + scenario.transfer_seconds(prompts)) @ one.weight))]
    return list(rungs(SERVING, 0, "idle engine", bound("from below, a request alone"), dict(rows)))


def _loaded(scenario: Disaggregated) -> list[Rung]:
    """Order 2: the prefill queue, the link, and the decode replica."""
    prompts, outputs, weight = (np.asarray(part, float) for part in scenario.serving.offered.grid())
    transfer = np.asarray(scenario.transfer_seconds(prompts))
    share = scenario.rate / scenario.prefill_replicas
    busy = share * float(transfer @ weight)
    wait = float(transfer_wait(arrival_rate=share, transfer=transfer, weight=weight))
    prefill = Replica.of(scenario.prefill, scenario.prefill.rate)
    # long prompts do no harm where nothing decodes beside them: the chain of chunks is the whole queue
    reasons = [f"prefill: {reason}" for reason in prefill.outside if "budget" not in reason]
    if busy > BUSY_LINK:
        reasons.append(f"links are busy {busy:.0%} of the time; waits for them are those of Poisson arrivals")
    first = "; ".join(reasons)
    moved = float(transfer @ weight) + wait
    rows = [
        _row("transfer_mean", moved, "s", outside=first),
        _row("ttft_mean", prefill.ttft_mean + moved, "s", outside=first),
    ]
    for label, level in QUANTILES.items():
        late = prefill.ttft_quantile(level) + weighted_quantile(transfer, weight, level) + wait
        rows.append(_row(f"ttft_{label}", late, "s", outside=first))
    if not (outputs > 1).any():
        return rows
    decode = Replica.of(scenario.decode, scenario.decode.rate)
    second = "; ".join(f"decode: {reason}" for reason in decode.outside if "budget" not in reason)
    rows.append(_row("tpot_mean", decode.tpot_mean, "s", outside=second))
    for label, level in QUANTILES.items():
        rows.append(_row(f"tpot_{label}", decode.tpot_quantile(level), "s", outside=second))
    joins = max(0.0, decode.ttft_mean - decode.tpot_mean)  # its own first step stands for the prompt's last
    e2el = prefill.ttft_mean + moved + joins + decode.batch.demand.decode_steps * decode.tpot_mean
    both = "; ".join(part for part in (first, second) if part)
    rows += [_row("e2el_mean", e2el, "s", outside=both), _row("running_mean", decode.decoding, "", outside=second)]
    return rows


def _collocated(scenario: Disaggregated) -> list[Rung]:
    """As many replicas that do both, each at its share of the load; without latencies past their saturation."""
    one, replicas = scenario.collocated, scenario.prefill_replicas + scenario.decode_replicas
    limit = saturation(one)
    rows = [_row("collocated_saturation_rate", replicas * limit.rate, "request/s", TOGETHER, limit.outside, limit.note)]
    if one.rate >= limit.rate:
        return rows
    replica = Replica.of(one, one.rate, limit)
    outside = "; ".join(replica.outside)
    amounts = {"ttft_mean": replica.ttft_mean, "ttft_p99": replica.ttft_quantile(0.99)}
    if one.offered.mean_output > 1:
        amounts |= {"tpot_mean": replica.tpot_mean, "tpot_p99": replica.tpot_quantile(0.99)}
    return rows + [_row(f"collocated_{metric}", amount, "s", TOGETHER, outside) for metric, amount in amounts.items()]


def _row(metric: str, amount: float, unit: str, source: str = SOURCE, outside: str = "", note: str = "") -> Rung:
    return rung(metric, amount, unit, source, 2, note, outside)
