"""An engine at fixed concurrency, as load generators drive it: what its clients measure.

Two ways: the closed form of a sequence that decodes while ``B - 1`` others do and waits for their prompts, and a run of
the compiled closed loop. Published benchmarks are judged with it, medians against medians, for engines
that ``scenarios.closed_loop`` does not have (SGLang, TensorRT-LLM); that scenario has the scheduler step by step.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.quantities import Checked, Count
from secondorder.scenarios.serving import Serving


class FrontEnd(NamedTuple):
    """What lies between client and engine until the first token: steps until a request is taken up, s a token."""

    steps: float
    per_token: float


FRONT_ENDS = {
    "vllm": FrontEnd(3.4, 7.5e-6),
    "sglang": FrontEnd(27.7, 7.5e-6),
    "tensorrt-llm": FrontEnd(8.2, 7.5e-6),
}
"""HTTP, tokenising and the engine's intake, fitted on median times to the first token (``benchmarks/step_times.py``).
SGLang's many steps are the ``scheduler-recv-interval`` of the recipes that were measured, not the engine's default."""


@dataclass(frozen=True, kw_only=True)
class FixedConcurrency(Checked):
    """``concurrency`` clients, each with one request under way, on the engine of ``serving``.

    Prompts and outputs have ``input_tokens`` and ``output_tokens``, or lengths drawn evenly between ``shortest`` times
    these and these. The arrivals and lengths of ``serving`` itself are not used. ``separate_prefill``: steps
    with prompts decode nothing (SGLang's default).
    """

    serving: Serving
    input_tokens: Count
    output_tokens: Count
    concurrency: Count
    shortest: float = 1.0
    separate_prefill: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.shortest <= 1:
            raise InputError("shortest", given=self.shortest, expected="a share above 0 and at most 1")

    @property
    def mean_lengths(self) -> tuple[float, float]:
        """Of prompts and of outputs."""
        share = (1 + self.shortest) / 2
        return self.input_tokens * share, self.output_tokens * share

    @cached_property
    def batch(self) -> float:
        """Sequences that run at once: the clients, or as many as the cache holds."""
        prompt, output = self.mean_lengths
        return min(float(self.concurrency), max(1.0, self.serving.kv_tokens / (prompt + output / 2)))

    @property
    def prompts_met(self) -> float:
        """Prompts of other sequences that one waits for while it decodes, of the ``batch - 1`` that it could meet.

        Near 1 where prompts are spread; one half where sequences of equal length start together and prompts go first.
        """
        if not self.separate_prefill:
            return 0.9
        return 0.5 if self.shortest == 1 else 1.1

    def lengths(self, seed: int, requests: int) -> tuple[Integers, Integers]:
        """Lengths of this many requests in order."""
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        most = np.array([self.input_tokens, self.output_tokens])
        least = np.maximum(1, np.ceil(most * self.shortest)).astype(int)
        drawn = rng.integers(least, most + 1, size=(requests, 2))
        return drawn[:, 0], drawn[:, 1]


def time_per_token(loop: FixedConcurrency) -> float:
    """Mean time per output token: a decode step, and the prompts of the others.

    ``t(B) + prompts_met (B - 1) x / O``, ``x`` what a prompt adds to a step and ``O`` the output tokens.
    *Valid when* outputs are many against the steps of a prompt. *Approximation*: mean context ``I + O/2``.
    """
    prompt, output = loop.mean_lengths
    batch = loop.batch
    context = batch * (prompt + output / 2)
    step = loop.serving.step_seconds
    decode = step(0, 0, 0, batch, context, batch)
    chunk = min(prompt, float(loop.serving.settings.max_num_batched_tokens))
    mixed = step(chunk, chunk * chunk / 2, 0, batch, context, batch)
    return float(decode + loop.prompts_met * (batch - 1) * (mixed - decode) * (prompt / chunk) / output)


def simulate(loop: FixedConcurrency, *, seed: int = 0, rounds: int = 2) -> tuple[float, float]:
    """Median time to the first token and per output token, in s, of a run of ``rounds`` requests a client.

    The first are sent at once, as load generators do. The time to the first token is the engine's own: a client adds
    ``FrontEnd``. Errors: ``InputError`` where the engine could never serve a request.
    """
    from secondorder.simulate.kernels.closed_loop import Load, serve_closed
    from secondorder.simulate.kernels.coefficients import step_times

    times = step_times(loop.serving)
    if times is None:
        raise InputError("step_time", given=repr(loop.serving.step_time), expected="one that the kernel knows")
    requests = min(max(rounds * loop.concurrency, 16), 10 * loop.concurrency)
    prompts, outputs = loop.lengths(seed, requests)
    longest = loop.input_tokens + loop.output_tokens
    if longest > min(loop.serving.kv_tokens, loop.serving.context_limit):
        raise InputError(
            "input_tokens",
            given=f"{longest} with the output",
            expected=f"at most {min(loop.serving.kv_tokens, loop.serving.context_limit)} tokens",
        )
    load = Load(
        prompts, outputs, loop.concurrency, loop.serving.settings.max_num_batched_tokens, loop.serving.kv_tokens,
        loop.separate_prefill,
    )  # fmt: skip
    first, later = serve_closed(load, times)
    return float(np.median(first)), float(np.median(later))


def first_token(loop: FixedConcurrency, engine: str, simulated: tuple[float, float]) -> float:
    """Median time to the first token at the client, in s: the engine's own and what its front end adds."""
    front = FRONT_ENDS[engine]
    return simulated[0] + front.steps * simulated[1] + front.per_token * loop.mean_lengths[0]
