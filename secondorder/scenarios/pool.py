"""Replicas of one kind in a system with prefill and decode apart: what is theirs alone, and how long their steps last.

>>> Pool(tensor_parallel_size=1, data_parallel_size=8).given
{'tensor_parallel_size': 1, 'data_parallel_size': 8}
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.quantities import Checked, Count
from secondorder.scenarios.expert_ranks import RankCoefficients, rank_coefficients, together
from secondorder.scenarios.measured_roofline import MeasuredCoefficients, MeasuredRoofline, measured_seconds
from secondorder.scenarios.serving import Serving


@dataclass(frozen=True, kw_only=True)
class Pool(Checked):
    """Settings of one kind of replicas, with the names and the meaning that they have in ``Serving``.

    - ``tensor_parallel_size``: accelerators that share each layer.
    - ``data_parallel_size``: ranks of these, each with its own cache and slots.
    - ``enable_expert_parallel``: whether each accelerator has whole experts.
    - ``max_num_seqs``: sequences that run at once on a rank, at most.
    - ``max_num_batched_tokens``: prompt tokens of a step of a rank, at most.

    What is not given is that of the service.
    """

    tensor_parallel_size: Count | None = None
    data_parallel_size: Count | None = None
    enable_expert_parallel: bool | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are given."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


class DecodeSteps(NamedTuple):
    """Seconds of a step of ``n`` sequences of a replica: ``seconds[n] + per_token[n] (tokens that they hold)``."""

    seconds: Floats
    per_token: Floats


def step_time_of(serving: Serving) -> MeasuredRoofline:
    """The step time of a replica, if it is one that says what a step is made of. Errors: ``InputError``."""
    if not isinstance(serving.step_time, MeasuredRoofline):
        raise InputError(
            "serving.step_time",
            given=f"one by {type(serving.step_time).__name__}, with users",
            expected="one that knows ranks, drafts and prompts without decodes",
            remedy='take step_time="measured-roofline"',
        )
    return serving.step_time


def decode_steps(serving: Serving, most: int, drafted: int = 0) -> DecodeSteps:
    """Steps of up to ``most`` sequences on all ranks, each spread evenly; the fullest rank sets the pace.

    With ``drafted`` tokens a step computes ``1 + drafted`` positions of each sequence, whose cache is read once, after
    as many steps of one layer that proposed them.
    """
    step_time, placement = step_time_of(serving), serving.placement
    c, ranks = rank_coefficients(step_time, placement), serving.data_parallel_size
    sequences = np.arange(most + 1, dtype=np.float64)
    fullest = np.ceil(sequences / ranks)
    seconds = _step(c, fullest, sequences, 1 + drafted)
    layers = serving.model.layers
    if drafted:
        seconds = seconds + drafted / layers * _step(c, fullest, sequences, 1)
    cached = step_time.cached_token_seconds(placement, 1 + drafted) * (1 + drafted / layers)
    return DecodeSteps(seconds, cached * fullest / np.maximum(sequences, 1.0))


def _step(c: RankCoefficients, fullest: Floats, sequences: Floats, positions: int) -> Floats:
    """Seconds without the cache; the host's work a sequence does not grow with its positions."""
    rows, none = fullest * positions, np.zeros_like(fullest)
    own = measured_seconds(c.own, 0.0, 0.0, 0.0, rows, none, rows) - c.own.per_decode * fullest * (positions - 1)
    return np.asarray(own + together(c, sequences * positions))


def prefill_steps(serving: Serving, prompt: float) -> Floats:
    """Seconds of a step over ``m`` prompts of this length: 0 to as many as all ranks together compute at once.

    A rank takes whole prompts, one at least. Routed experts have many rows: ``MeasuredRoofline.for_prefill``.
    """
    c = rank_coefficients(step_time_of(serving).for_prefill(), serving.placement)
    ranks, settings = serving.data_parallel_size, serving.settings
    each = max(1, min(settings.max_num_seqs, int(settings.max_num_batched_tokens // prompt)))
    prompts = np.arange(ranks * each + 1, dtype=np.float64)
    fullest = np.ceil(prompts / ranks)
    return np.asarray(_prompts(c.own, fullest, prompt) + together(c, prompts * prompt))


def _prompts(c: MeasuredCoefficients, fullest: Floats, prompt: float) -> Floats:
    none = np.zeros_like(fullest)
    pairs = fullest * prompt * prompt / 2
    return np.asarray(measured_seconds(c, fullest * prompt, pairs, none, none, none, fullest))


def accepted(acceptance: float, drafted: int) -> float:
    """Tokens that a step yields: its own and the drafted ones before the first that is refused, ``sum a^i``.

    *Valid if* each is accepted independently of the others. *Source*: Leviathan et al. 2023, equation 1.

    >>> round(accepted(0.6, 3), 3)
    2.176
    """
    return float(sum(acceptance**place for place in range(drafted + 1)))
