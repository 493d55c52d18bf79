"""Pipeline-parallel stages in closed form: a request alone, means at light load, and the saturation of even batches.

As many batches are under way as there are stages. Where they are alike none waits for a stage: each is an engine whose
step goes through all stages, with an even share of slots, cache and requests (``Serving.lane``).
"""

from collections.abc import Iterable, Iterator

import numpy as np

from secondorder.analytic.serving.mean_value import mean_value
from secondorder.analytic.serving.saturation import Saturation, saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.answers.metric import unit_of
from secondorder.arrays import Floats
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving
from secondorder.workloads.traces import Trace

MEANS, BALANCE = "mean value (Little 1961)", "balance of slots and tokens"
PROMPTS = 0.03
"""Share of the time that prompts add to steps, up to which means of batches that find the stages free are near."""
EVEN = 0.1
"""How much longer a step may be with a prompt, or with all sequences, for batches that count as alike."""


def of_stages(scenario: Serving, alone: Iterable[Rung]) -> Answer:
    """The ladder of a service of pipeline stages: ``alone`` is its order 0.

    Order 1: mean values of one batch under way, *valid at* light load. The saturation rate is that of even batches,
    ``n`` times that of a lane: simulated backlogs came within 5 % of it where a prompt or all sequences in one batch
    hardly lengthen a step, and as low as half of it elsewhere. Errors: ``Unstable`` at or past it, unless a trace is
    replayed.
    """
    limit, rate, stages = saturation(scenario), scenario.rate, scenario.pipeline_parallel_size
    uneven = uneven_batches(scenario, limit)
    if rate >= limit.rate and not isinstance(scenario.arrivals, Trace):
        raise Unstable(
            f"{scenario.name}: {rate:.4g} request/s offered, but {stages} stages saturate at {limit.rate:.4g}, "
            f"{limit.note}; lower the rate, or add replicas"
        )
    estimates = [*alone, *(_means(scenario) if rate < limit.rate else ())]
    for metric, amount in (("saturation_rate", limit.rate), ("utilisation", rate / limit.rate)):
        outside = "; ".join(filter(None, (uneven, limit.outside)))
        estimates.append(_rung(metric, amount, BALANCE, 2, outside=outside, note=f"{limit.note}, with even batches"))
    how = f"closed forms at {rate:.4g} request/s, {rate / limit.rate:.0%} of saturation, of {stages} pipeline stages"
    return Answer(scenario=scenario.name, estimates=ranked(estimates), how=how)


def uneven_batches(scenario: Serving, limit: Saturation) -> str:
    """Why batches under way differ at saturation; empty where they do not, or where it does not matter."""
    lane, law = scenario.lane, scenario.offered
    decodes = max(1.0, limit.decodes / scenario.pipeline_parallel_size)
    context = law.mean_input + law.mean_output / 2
    prompt = min(law.mean_input * (1 + law.scv_input), scenario.settings.max_num_batched_tokens)

    def step(sequences: float, tokens: float = 0.0) -> float:
        pairs = tokens * (tokens + 1) / 2
        return float(lane.step_seconds(tokens, pairs, tokens, sequences, sequences * context, sequences))

    if (longer := step(decodes, prompt) / step(decodes) - 1) > EVEN:
        return f"a prompt makes a batch {longer:.0%} longer, and the others wait behind it"
    together = scenario.pipeline_parallel_size * decodes
    if (longer := step(together) / step(decodes) - 1) > EVEN:
        return f"one batch may take all sequences, and its steps are then {longer:.0%} longer"
    return ""


def _means(scenario: Serving) -> Iterator[Rung]:
    """Means of one lane; nothing is said of the time to the first token, which waits for a batch under way."""
    lane, stages, rate = scenario.lane, scenario.pipeline_parallel_size, scenario.rate
    try:
        means = mean_value(lane, lane.rate)
    except Unstable:
        return
    law = scenario.offered
    context = law.mean_input + law.mean_output / 2

    def longer(prompts: Floats) -> Floats:
        none, one = 0 * prompts, 1 + 0 * prompts
        with_prompt = lane.step_seconds(prompts, prompts * (prompts + 1) / 2, prompts, none, none, one)
        return np.asarray(with_prompt - lane.step_seconds(none, none, none, one, context + none, one), np.float64)

    added = rate * law.expect(lambda i, _: longer(i))
    light = "" if added < PROMPTS else f"prompts add {added:.0%} to steps, and batches wait for each other"
    amounts = {"e2el_mean": means.e2el, "running_mean": stages * means.decodes + rate * means.ttft}
    if law.mean_output > 1:
        amounts["tpot_mean"] = means.tpot
    for metric, amount in amounts.items():
        yield _rung(metric, amount, MEANS, 1, outside=light)
    for metric, amount in (("request_throughput", rate), ("output_throughput", rate * law.mean_output)):
        yield _rung(metric, amount, MEANS, 1, claim=Claim.EXACT)


def _rung(
    metric: str,
    amount: float,
    source: str,
    order: int,
    *,
    outside: str = "",
    note: str = "",
    claim: Claim = Claim.APPROXIMATION,
) -> Rung:
    return rung(metric, amount, unit_of(SERVING, metric), source, order, note, outside, claim)
