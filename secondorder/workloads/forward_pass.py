"""What one forward pass computes, moves and holds: FLOPs and bytes, before any machine.

>>> from secondorder.workloads.models import models
>>> step = forward_pass(models.llama_3_1_8b, batch_size=64, precision="bf16", input_tokens=1, context_tokens=1000)
>>> round(step.weight_bytes / 1e9, 2), round(step.other_bytes / 1e9, 2), round(step.intensity, 1)
(15.01, 8.41, 42.5)
"""

import math
from typing import NamedTuple, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats, Integers, Real, at_most
from secondorder.errors import InputError
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer

Whole: TypeAlias = int | Integers | Floats


class ForwardPass(NamedTuple):
    """FLOPs and bytes, each a float or an array over batch sizes and lengths.

    ``matrix_flops`` are those on weights, ``pair_flops`` those of activations with each other (attention's scores
    and sums). ``weight_bytes`` are read; ``other_bytes`` are cache and activations, read and written.
    ``held_weights`` and ``held_other`` lie in memory. ``layers`` run one after the other.
    """

    matrix_flops: Real
    pair_flops: Real
    weight_bytes: Real
    other_bytes: Real
    held_weights: float
    held_other: Real
    layers: int

    @property
    def flops(self) -> Real:
        """All, in FLOP."""
        return self.matrix_flops + self.pair_flops

    @property
    def bytes(self) -> Real:
        """Moved between memory and the chip."""
        return self.weight_bytes + self.other_bytes

    @property
    def intensity(self) -> Real:
        """FLOP/byte."""
        return self.flops / self.bytes

    @property
    def footprint(self) -> Real:
        """Bytes held."""
        return self.held_weights + self.held_other


class Work(TypedDict, total=False):
    """Options of ``forward_pass`` that say what a pass computes and how it is stored."""

    weight_precision: str | None
    kv_precision: str | None
    input_tokens: Whole | None
    context_tokens: Whole
    passes: int


def forward_pass(
    model: Transformer | Network,
    *,
    batch_size: Whole = 1,
    precision: str = "fp16",
    weight_precision: str | None = None,
    kv_precision: str | None = None,
    input_tokens: Whole | None = None,
    context_tokens: Whole = 0,
    passes: int = 1,
) -> ForwardPass:
    """The work of ``batch_size`` inputs, or sequences; numbers may be arrays, which broadcast.

    A ``Network`` reads the weights that the batch touches, and writes and reads its activations where their number
    is known; run ``passes`` times one after the other (the denoising steps of a diffusion model, twice as many with
    classifier-free guidance in a batch of its own), it does all of that as often. A ``Transformer`` computes
    ``input_tokens`` new tokens of each sequence after ``context_tokens`` cached ones: a prompt of ``n`` has
    ``n(n+1)/2`` pairs, each once; its cache is read up to the token and the new tokens are written. A layer with a
    window reads and holds no more than that; a state is read and written once.

    ``weight_precision`` and ``kv_precision`` are those of what is stored, ``precision`` where not given.
    Errors: ``InputError``, ``UnknownName``.
    """
    batch = _whole("batch_size", batch_size, 1)
    times = int(_whole("passes", passes, 1))
    stored = weight_precision or precision
    if isinstance(model, Network):
        if input_tokens is not None or np.any(context_tokens):
            raise InputError("input_tokens", given=input_tokens, expected=f"none, as {model.name} reads no tokens")
        if kv_precision is not None:
            raise InputError("kv_precision", given=kv_precision, expected=f"none, as {model.name} keeps no cache")
        return _network(model, batch, precision, stored, times)
    if not isinstance(model, Transformer):
        raise InputError("model", given=repr(model), expected="a model such as so.models.resnet50")
    if passes != 1:
        expected = f"1, as each token of {model.name} reads a longer cache: give context_tokens"
        raise InputError("passes", given=passes, expected=expected)
    if input_tokens is None:
        raise InputError(
            "input_tokens",
            given="none",
            expected=f"the new tokens of each sequence of {model.name}",
            remedy="1 is a decode step",
        )
    new, context = _tokens(model, input_tokens, context_tokens)
    return _transformer(model, batch, stored, kv_precision or precision, new, context)


def _network(model: Network, batch: Real, precision: str, stored: str, times: int) -> ForwardPass:
    written: Real = 0.0
    held: Real = 0.0
    if model.activations is not None:
        written = model.activation_bytes(batch, precision)
        held = written * ((model.held_activations or model.activations) / model.activations)
    return ForwardPass(
        matrix_flops=model.flops(batch) * times,
        pair_flops=0.0,
        weight_bytes=model.touched_bytes(batch, stored) * times,
        other_bytes=2 * written * times,
        held_weights=model.weight_bytes(stored),
        held_other=held,
        layers=model.layers * times,
    )


def _transformer(model: Transformer, batch: Real, stored: str, kv: str, new: Real, context: Real) -> ForwardPass:
    width = bytes_per_value(kv)
    flops: Real = 0.0
    moved: Real = 2 * model.state_bytes(kv)
    held: Real = model.state_bytes(kv)
    for cache, many in model.counted.caches:
        each = _either(new == 1, cache.decode_flops, cache.prefill_flops)
        flops = flops + many * each * (_seen(context + new, cache.horizon) - _seen(context, cache.horizon))
        moved = moved + many * cache.values * width * (_least(context, cache.horizon) + 2 * new)
        held = held + many * cache.values * width * _least(context + new, cache.window or math.inf)
    return ForwardPass(
        matrix_flops=batch * (model.flops_per_token * new + model.flops_per_row),
        pair_flops=batch * flops,
        weight_bytes=model.touched_bytes(batch * new, stored),
        other_bytes=batch * moved,
        held_weights=model.weight_bytes(stored),
        held_other=batch * held,
        layers=model.layers,
    )


def _seen(tokens: Real, horizon: float) -> Real:
    """Pairs of the first ``tokens``, each with itself and those before it, at most ``horizon`` of them."""
    near = _least(tokens, horizon)
    return near * (near + 1) / 2 + (tokens - near) * (horizon if horizon < math.inf else 0.0)


def _least(tokens: Real, most: float) -> Real:
    if most == math.inf:
        return tokens
    return at_most(tokens, most)


def _tokens(model: Transformer, new: Whole, context: Whole) -> tuple[int | Floats, int | Floats]:
    new, context = _whole("input_tokens", new, 1), _whole("context_tokens", context, 0)
    longest = np.max(new + context) if isinstance(new, np.ndarray) or isinstance(context, np.ndarray) else new + context
    if longest > model.max_context:
        raise InputError(
            "input_tokens",
            given=f"{np.max(new):.0f} after {np.max(context):.0f} cached",
            expected=f"at least 1 and together at most {model.max_context}",
        )
    return new, context


def _either(condition: bool | npt.NDArray[np.bool_], one: float, other: float) -> Real:
    return np.where(condition, one, other) if isinstance(condition, np.ndarray) else one if condition else other


def _whole(what: str, value: Whole, least: int) -> int | Floats:
    """An int, or an array of floats that are whole: products of large counts do not overflow."""
    if type(value) is int and value >= least:
        return value
    try:
        array = np.array(np.nan) if isinstance(value, str) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    wrong = ~((array >= least) & (array == np.floor(array)) & np.isfinite(array))
    if isinstance(value, bool) or not array.size or wrong.any():
        given = np.asarray(value)[wrong].flat[0] if array.ndim and wrong.any() else repr(value)
        raise InputError(what, given=given, expected=f"an integer of at least {least}")
    return array if array.ndim else int(array)
