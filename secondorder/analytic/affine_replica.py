"""A decode replica whose costs are affine, by mean values: its batch, and the rate that saturates it.

A decode step of ``B`` sequences that read ``K`` tokens of cache lasts ``step_base + step_each B + step_token K``; a
prompt of ``I`` tokens adds ``prompt_base + prompt_token I``. These are first-order answers, to be compared with a
simulation; ``analytic.serving`` solves a whole scenario.
"""

from dataclasses import dataclass

from secondorder.analytic.arguments import non_negative, one
from secondorder.errors import InputError, Unstable


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Times in s: of a step, per sequence in it, per cached token read; of a prompt, per token of it."""

    step_base: float
    step_each: float
    step_token: float
    prompt_base: float
    prompt_token: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            non_negative(name, value)

    def step(self, sequences: float, tokens: float) -> float:
        """Duration of a decode step in s."""
        return self.step_base + self.step_each * sequences + self.step_token * tokens

    def prompt(self, tokens: float) -> float:
        """What a prompt adds, in s."""
        return self.prompt_base + self.prompt_token * tokens


def mean_batch(costs: Costs, *, arrival_rate: float, prompt: float, output: float, context: float) -> float:
    """Mean number of sequences decoding: the fixed point of Little's law.

    ``B = lambda o (b0 + b1 B + b2 B K) / (1 - lambda P)``: each of ``lambda`` requests a second stays for
    ``o`` steps, stretched by the share of time ``lambda P`` that prompts take; ``K`` is the mean
    context that a sequence reads a step. *Approximation*: means for the whole law. *Valid when* slots
    and cache do not bind. ``arrival_rate`` (lambda) in 1/s, ``prompt``, ``output`` (o) and ``context``
    (K) in tokens; one replica at a time. Errors: ``Unstable`` past saturation, ``InputError``.

    *Source*: Little 1961.

    >>> costs = Costs(step_base=0.008, step_each=4e-5, step_token=5e-8, prompt_base=0.008, prompt_token=6e-5)
    >>> round(mean_batch(costs, arrival_rate=5.0, prompt=512.0, output=256.0, context=768.0), 6)
    14.503263
    """
    rate, steps, reads = one("arrival_rate", arrival_rate), one("output", output), one("context", context)
    prefill = rate * costs.prompt(one("prompt", prompt))
    slope = rate * steps * costs.step(1, reads) - rate * steps * costs.step_base
    used = prefill + slope
    if used >= 1:
        raise Unstable(
            f"utilisation {used:.6g} by prompts and decoding: the batch grows without limit; "
            f"use an arrival rate below {rate / used:.6g} request/s"
        )
    return rate * steps * costs.step_base / (1 - used)


def saturation_rate(costs: Costs, *, prompt: float, output: float, batch: float, context: float) -> float:
    """Highest arrival rate in 1/s with at most ``batch`` sequences at once.

    ``1 / (E[O] tau(B)/B + p0 + p1 E[I])``, ``tau(B)`` a step of ``B`` sequences of mean ``context``.
    *Approximation*: means for the whole law. *Valid when* the batch is full at saturation.
    ``prompt`` (E[I]), ``output`` (E[O]) and ``context`` in tokens, ``batch`` (B) above 0; one replica
    at a time. Errors: ``InputError``. *Source*: balance of the server's time.

    >>> costs = Costs(step_base=0.008, step_each=4e-5, step_token=5e-8, prompt_base=0.008, prompt_token=6e-5)
    >>> round(saturation_rate(costs, prompt=512.0, output=512.0, batch=40000 / 1024, context=1024.0), 8)
    5.25563404
    """
    size, reads = one("batch", batch), one("context", context)
    step = costs.step(size, size * reads)
    return 1 / (one("output", output) * step / size + costs.prompt(one("prompt", prompt)))


def tokens_read(*, prompt: float, output: float, output_second: float) -> float:
    """Mean context that a decode step reads for each sequence, in tokens: ``E[I] + E[O(O+1)] / (2 E[O])``.

    Long requests are met more often (the inspection paradox). *Exact* for prompt and output
    independent. It is also what a sequence holds when cache is taken on demand. ``prompt`` (E[I])
    and ``output`` (E[O]) in tokens, ``output_second`` (E[O^2]) in tokens^2. Errors: ``InputError``.

    *Source*: length-biased sampling; Feller II (1971), section VI.7.

    >>> tokens_read(prompt=512.0, output=512.0, output_second=2 * 512.0**2 - 512.0)
    1024.0
    """
    first, second = _output(output, output_second)
    return one("prompt", prompt) + (second / first + 1) / 2


def tokens_reserved(*, prompt: float, output: float, output_second: float) -> float:
    """Mean tokens held for each sequence when its full length is reserved: ``E[(I+O)O]/E[O] = E[I] + E[O^2]/E[O]``.

    *Exact* for prompt and output independent; length-biased as ``tokens_read``. ``prompt`` (E[I])
    and ``output`` (E[O]) in tokens, ``output_second`` (E[O^2]) in tokens^2. Errors: ``InputError``.

    *Source*: as ``tokens_read``.

    >>> tokens_reserved(prompt=512.0, output=512.0, output_second=2 * 512.0**2 - 512.0)
    1535.0
    """
    first, second = _output(output, output_second)
    return one("prompt", prompt) + second / first


def _output(output: float, output_second: float) -> tuple[float, float]:
    first, second = one("output", output), one("output_second", output_second)
    if second < first**2 * (1 - 1e-12):
        raise InputError("output_second", given=second, expected="at least the square of the mean")
    return first, second
