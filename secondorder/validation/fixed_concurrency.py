"""An engine at fixed concurrency, as load generators drive it: what its clients measure.

Two ways: the closed form of a sequence that decodes while ``B - 1`` others do and waits for their prompts, and a run of
the compiled closed loop. Published benchmarks are judged with it, medians against medians, for engines
that ``scenarios.closed_loop`` does not have (SGLang, TensorRT-LLM); that scenario has the scheduler step by step.
"""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.quantities import Checked, Count
from secondorder.scenarios.serving import Serving


class FrontEnd(NamedTuple):
    """What lies between client and engine until the first token.

    ``steps`` until a request is taken up; ``per_token`` s for each token of the prompts that come together, which are
    the square root of the clients.
    """

    steps: float
    per_token: float


FRONT_ENDS = {
    "vllm": FrontEnd(5.1, 4.9e-6),
    "sglang": FrontEnd(27.7, 4.9e-6),
    "tensorrt-llm": FrontEnd(10.3, 4.9e-6),
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
        """Sequences that run at once on a rank: its share of the clients, or as many as its cache holds."""
        prompt, output = self.mean_lengths
        share = max(1.0, self.concurrency / self.serving.data_parallel_size)
        return min(share, max(1.0, self.serving.kv_tokens / (prompt + output / 2)))

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
    Of ranks in lockstep ``B`` are those of a rank in ``t``, and those of all ranks among the others.
    *Valid when* outputs are many against the steps of a prompt. *Approximation*: mean context ``I + O/2``.
    """
    prompt, output = loop.mean_lengths
    batch = loop.batch
    context = batch * (prompt + output / 2)
    step = loop.serving.step_seconds
    decode = step(0, 0, 0, batch, context, batch)
    chunk = min(prompt, float(loop.serving.settings.max_num_batched_tokens))
    ranks = loop.serving.data_parallel_size
    if ranks == 1:
        mixed = step(chunk, chunk * chunk / 2, 0, batch, context, batch)
    else:
        others = [(0, 0, 0, batch, context, batch)] * (ranks - 1)
        mixed = loop.serving.step_of_loads([(chunk, chunk * chunk / 2, 0, batch, context, batch), *others])
    return float(decode + loop.prompts_met * (ranks * batch - 1) * (mixed - decode) * (prompt / chunk) / output)


def simulate(loop: FixedConcurrency, *, seed: int = 0, rounds: int = 3) -> tuple[float, float]:
    """Median time to the first token and per output token, in s, of ``rounds`` requests a client.

    Before them each client sends one that does not count: these all come at once. The time to the first token is the
    engine's own: a client adds ``FrontEnd``. Errors: ``InputError`` where the engine could never serve a request.
    """
    from secondorder.simulate.kernels.closed_loop import Load, serve_closed
    from secondorder.simulate.kernels.coefficients import step_times

    times = step_times(loop.serving)
    if times is None:
        raise InputError("step_time", given=repr(loop.serving.step_time), expected="one that the kernel knows")
    requests = loop.concurrency + max(rounds * loop.concurrency, 16)
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
    counted = slice(loop.concurrency, None)
    return float(np.median(first[counted])), float(np.median(later[counted]))


def first_token(loop: FixedConcurrency, engine: str, simulated: tuple[float, float]) -> float:
    """Median time to the first token at the client, in s: the engine's own and what its front end adds.

    ``t_engine + steps t_step + per_token I sqrt(C)``: of ``C`` clients in a closed loop the next requests come in
    bunches, whose prompts a front end handles one after the other; independent clients deviate from an even stream by
    the root of their number. *Approximation*: one bunch size for all lengths.
    """
    front = FRONT_ENDS[engine]
    bunch = front.per_token * loop.mean_lengths[0] * sqrt(loop.concurrency)
    return simulated[0] + front.steps * simulated[1] + bunch
