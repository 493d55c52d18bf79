"""The latencies of one replication of a service, for comparisons on the same random numbers."""

from dataclasses import replace

import numpy as np

from secondorder.answers.metric import QUANTILES
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.scenarios.effects.serving import PrefillElsewhere
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import PICO, draw
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.partition import partition_of
from secondorder.simulate.serving.single_run import run
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace

REQUESTS = 4_000
"""Requests of a replication, if no number is given."""
BEGINNING, END = 0.2, 0.9
"""Shares of the requests between which latencies count: neither filling nor emptying."""


def latencies(
    scenario: Serving, *, seed: int, replication: int, requests: int | None, longest_prompt: int | None = None
) -> dict[str, float]:
    """Means and quantiles of ``ttft``, ``tpot`` and ``e2el`` in s, of the requests with prompts up to the longest.

    Two scenarios see the same arrivals and the same lengths where they have the same laws of them.
    """
    whole = isinstance(scenario.arrivals, Trace)
    count = len(scenario.arrivals) if isinstance(scenario.arrivals, Trace) else REQUESTS
    drawn = draw(scenario, requests or count, seed, replication)
    ttft, e2el = _served(scenario, drawn)
    start, end = (0, len(drawn)) if whole else (int(BEGINNING * len(drawn)), max(1, int(END * len(drawn))))
    counted = np.asarray(drawn.input_tokens)[start:end] <= (longest_prompt or np.inf)
    if not counted.any():
        given = f"{longest_prompt}, and no request that counts has so short a prompt"
        raise InputError("longest_prompt", given=given, expected="a length that some prompts do not exceed")
    later = np.asarray(drawn.output_tokens) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(later > 0, (e2el - ttft) / later, np.nan)
    found = {}
    for name, values in (("ttft", ttft), ("tpot", tpot), ("e2el", e2el)):
        kept = values[start:end][counted & ~np.isnan(values[start:end])]
        if len(kept):
            found[f"{name}_mean"] = float(kept.mean())
            found |= {f"{name}_{label}": float(np.quantile(kept, level)) for label, level in QUANTILES.items()}
    return found


def _served(scenario: Serving, requests: Requests) -> tuple[Floats, Floats]:
    """Time to first token and end-to-end time of each request, in s."""
    if isinstance(scenario.step_time, PrefillElsewhere):
        return _prefilled_elsewhere(scenario, scenario.step_time, requests)
    from secondorder.simulate.kernels.serving import run as kernel

    if kernel.supports(scenario):
        record = kernel.record(scenario, requests, records=False)
        arrival = np.rint(np.asarray(requests.arrival) / PICO)
        times = record.first_token, record.finish
        return np.multiply(times[0] - arrival, PICO), np.multiply(times[1] - arrival, PICO)
    frame = run(scenario, requests).requests
    return frame["ttft"].to_numpy(), frame["e2el"].to_numpy()


def _prefilled_elsewhere(scenario: Serving, step: PrefillElsewhere, requests: Requests) -> tuple[Floats, Floats]:
    """Each request comes to the engine with its first token, when its prompt has been computed alone.

    That token counts as out when the engine has a slot and blocks for the request: limits are effects of their own.
    """
    prompts, outputs = np.asarray(requests.input_tokens), np.asarray(requests.output_tokens)
    known, places = np.unique(prompts, return_inverse=True)
    ttft = np.array([step.prompt_seconds(scenario.placement, int(tokens)) for tokens in known])[places]
    ready = np.asarray(requests.arrival) + ttft
    e2el = ttft.copy()
    order = np.flatnonzero(outputs > 1)
    order = order[np.argsort(ready[order], kind="stable")]
    if len(order):
        coming = replace(
            requests, arrival=ready[order], input_tokens=prompts[order] + 1, output_tokens=outputs[order] - 1,
            hash_ids=None, hash_block=0, priorities=requests.priority[order],
        )  # fmt: skip
        parts = partition_of(scenario, coming)
        e2el[order] += parts.e2el * PICO
        ttft[order] += parts.first_token[:, [Cause.SLOTS, Cause.CACHE]].sum(axis=1) * PICO
    return ttft, e2el
