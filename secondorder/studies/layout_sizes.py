"""Layouts of a service by the closed forms: the fewest replicas of each that keep the objectives."""

from collections.abc import Callable

from secondorder.analytic.capacity import IDLE_SHARE, least, replicas_for_rate
from secondorder.analytic.serving.disaggregated import limits
from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError, InputError
from secondorder.fleets.clusters import Link
from secondorder.quantities import pretty
from secondorder.scenarios.capacity import Capacity
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.studies.candidates import Candidate
from secondorder.verbs import solve


def sized(question: Capacity, card: str, rests_on: str) -> Candidate:
    """Replicas that do both, by the second order of ``Capacity``."""
    answer = solve(question)
    replicas = answer.best("replicas")
    found = round(replicas.amount)
    doubt = f"; {replicas.outside}" if replicas.outside else ""
    work = answer.best("utilisation").amount * found
    return _candidate(question, card, found, answer, work, rests_on + doubt)


def sized_split(question: Capacity, card: str, rests_on: str, link: Link) -> Candidate:
    """Prefill and decode apart: the first token sets the prefill replicas, the further ones the decode replicas.

    The first token does not depend on the decode replicas, nor a further one on the prefill replicas, so that the
    fewest of each kind are the fewest together. *Valid* as ``Disaggregated`` is. Errors: ``InputError`` for an
    objective end to end, of which no closed form is known; ``InfeasibleError`` where no number keeps an objective.
    """
    if "e2el_p99" in question.objectives:
        raise InputError("splits", given="an objective e2el_p99", expected="ttft_p99, tpot_p99 or both")
    one = Disaggregated(serving=question.whole, prefill_replicas=1, decode_replicas=1, link=link, name=question.name)
    each = limits(one)
    prefill = replicas_for_rate(rate=one.rate, replica_rate=min(each.prefill, each.link))
    decode = replicas_for_rate(rate=one.rate, replica_rate=each.decode)

    def apart(first: int, then: int) -> Disaggregated:
        return Disaggregated(
            serving=question.whole, prefill_replicas=first, decode_replicas=then, link=link, name=question.name
        )

    p = _fewest(question, "ttft_p99", prefill, lambda n: solve(apart(n, decode)))
    d = _fewest(question, "tpot_p99", decode, lambda n: solve(apart(p, n)))
    split = apart(p, d)
    answer = solve(split)
    doubts = dict.fromkeys(answer.best(metric).outside for metric in question.objectives)
    told = [rests_on, "prefill and decode apart, replicas picked at random", *(doubt for doubt in doubts if doubt)]
    work = one.rate / min(each.prefill, each.link) + one.rate / each.decode
    return _candidate(question, card, p + d, answer, work, "; ".join(told), split)


def _fewest(question: Capacity, metric: str, start: int, ask: Callable[[int], Answer]) -> int:
    """Replicas from ``start`` on that keep one objective; ``start`` where there is none."""
    limit = question.objectives.get(metric)
    if limit is None:
        return start
    found = least(lambda n: ask(n).best(metric).amount <= limit, start=start, most=IDLE_SHARE * start)
    if found is None:
        raise InfeasibleError(
            f"{question.name}: no number of replicas keeps {metric} within {pretty(limit, 's')}, nearly idle ones "
            "included: use a faster replica, or allow more"
        )
    return found


def _candidate(
    question: Capacity,
    card: str,
    replicas: int,
    answer: Answer,
    work: float,
    rests_on: str,
    split: Disaggregated | None = None,
) -> Candidate:
    serving, cost = question.serving, question.cost_rate(replicas)
    assert cost is not None
    return Candidate(
        accelerator=card,
        tensor_parallel_size=serving.tensor_parallel_size,
        precision=serving.precision,
        max_num_batched_tokens=serving.settings.max_num_batched_tokens,
        replicas=replicas,
        cost=cost * 3600,
        p99s={metric: answer.best(metric).amount for metric in question.objectives},
        source="closed form",
        sized=replicas,
        work=work * serving.tensor_parallel_size,
        scenario=question,
        rests_on=rests_on,
        split=split,
    )
