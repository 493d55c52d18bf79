"""Order 0: a request alone on an idle engine. Only lengths vary."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.scenarios.serving import Serving

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Metrics of the requests of a scenario, each served alone, with the weight of each.

    ``TTFT = sum of the steps of the prompt's chunks``; ``TPOT = `` a decode step of one
    sequence at the request's mean context; ``E2EL = TTFT + (O - 1) TPOT``. *Exact* for a step
    time affine in the context. ``tpot`` is nan for a single output token. Arrays, s.
    """

    ttft: Floats
    tpot: Floats
    e2el: Floats
    weight: Floats


def idle(scenario: Serving) -> Idle:
    """Every request alone: the order 0 of the ladder."""
    prompts, outputs, weight = (np.asarray(part, float) for part in scenario.offered.grid())
    ttft = prefill_seconds(scenario, prompts)
    context = prompts + outputs / 2  # the cache read grows from I + 1 to I + O - 1
    one = np.ones_like(context)
    tpot = np.where(outputs > 1, scenario.step_seconds(0 * one, 0 * one, 0 * one, one, context, one), np.nan)
    e2el = ttft + np.where(outputs > 1, (outputs - 1) * tpot, 0.0)
    return Idle(ttft=ttft, tpot=tpot, e2el=e2el, weight=weight)


def prefill_seconds(scenario: Serving, prompts: Floats, decodes: float = 0.0, decode_context: float = 0.0) -> Floats:
    """Time to compute each prompt, in chunks, with that many sequences decoding. Array in, array out, s."""
    room = _room(scenario, decodes)
    before = np.arange(int(np.ceil(prompts.max(initial=1.0) / room)))[:, None] * room  # a row for each chunk
    chunk = np.clip(prompts - before, 0.0, room)
    pairs, after = chunk * before + chunk * (chunk + 1) / 2, before + chunk
    ends = (after == prompts) * (chunk > 0)
    many = np.full_like(chunk, decodes)
    seconds = scenario.step_seconds(chunk, pairs, after, many, np.full_like(chunk, decode_context), many + ends)
    return np.asarray(np.where(chunk > 0, seconds, 0.0).sum(axis=0))


def prefill_chunks(scenario: Serving, prompts: Floats, decodes: float = 0.0) -> Floats:
    """Steps that each prompt is spread over, with that many sequences decoding."""
    return np.ceil(prompts / _room(scenario, decodes))


def _room(scenario: Serving, decodes: float) -> float:
    """Tokens of one prompt that fit into a step."""
    room = max(1.0, scenario.settings.max_num_batched_tokens - decodes)
    return min(room, scenario.long_prefill_token_threshold or room)


def weighted_quantile(values: Floats, weight: Floats, level: float) -> float:
    """The least value that a share ``level`` of the weight does not exceed."""
    order = np.argsort(values)
    cumulative = weight[order].cumsum()
    return float(values[order][min(np.searchsorted(cumulative, level * cumulative[-1]), len(values) - 1)])
