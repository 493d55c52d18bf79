"""What compression does to time and memory: quantisation, pruning, distillation. It says nothing about accuracy.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> llama, h100 = models.llama_3_1_8b, accelerators.h100_sxm
>>> four_bits = Quantised(weights="int4", group_size=128, head="bf16")
>>> decode = compress(llama, h100, four_bits, precision="bf16", input_tokens=1, context_tokens=2048)
>>> prefill = compress(llama, h100, four_bits, precision="bf16", input_tokens=2048)
>>> round(decode.speedup, 2), round(prefill.speedup, 2)
(2.73, 1.0)

What a method costs in accuracy depends on the model, the data and the recipe; no figure is made up for it here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Unpack

from secondorder.analytic.roofline import RooflineAnswer, roofline, timed
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Rung, Standing, approximation, bound, rung
from secondorder.arrays import Real
from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.quantities import Quantity, si
from secondorder.scenarios.compression import (
    METHODS,
    Compression,
    Distilled,
    Method,
    Model,
    Quantised,
    Structured,
    TwoOfFour,
    Unstructured,
)
from secondorder.workloads.forward_pass import ForwardPass, Whole, Work, forward_pass
from secondorder.workloads.transformer import Transformer

SPARSE_PRECISIONS = ("tf32", "fp16", "bf16", "fp8", "int8", "int4", "fp4")
"""Those for which parts with 2:4 sparsity print a rate of twice the dense one."""
SCALE_BYTES = 2.0
"""Bytes of the fp16 scale that a group of weights shares."""


@dataclass(frozen=True, kw_only=True)
class CompressionAnswer:
    """A pass before and after; where the original model does not fit, there is no pass before, and ``why_not`` says so.

    ``weights_before`` and ``weights_after`` in byte. Accuracy is not in it.
    """

    method: Method
    before: RooflineAnswer | None
    after: RooflineAnswer
    weights_before: float
    weights_after: float
    why_not: str = ""

    @property
    def speedup(self) -> Real:
        """``latency before / latency after``; ``DoesNotFit`` where there was none before."""
        if self.before is None:
            raise DoesNotFit(self.why_not)
        return self.before.latency / self.after.latency

    @property
    def weight_ratio(self) -> float:
        """``weights_after / weights_before``."""
        return self.weights_after / self.weights_before


def compress(
    model: Model,
    accelerator: Accelerator,
    method: Method,
    *,
    batch_size: Whole = 1,
    precision: str = "fp16",
    compute_efficiency: float = 1.0,
    memory_efficiency: float = 1.0,
    kernel_overhead: Quantity | str = "10 µs",
    **work: Unpack[Work],
) -> CompressionAnswer:
    """A forward pass before and after ``method``; the options are those of ``roofline``.

    ``latency = max(matrix FLOPs/(peak s e_c) + pair FLOPs/(peak e_c), bytes/(bandwidth e_m)) + overhead``, with the
    method's bytes and its ``peak`` and ``s``; all matrices are compressed unless the method leaves some out.

    *Upper bound* on the gain: widening, rescaling and decoding take no time, sparse matrix units reach their full
    rate; of structured pruning a *lower bound*, see ``Structured``. Errors: ``UnknownName`` for a precision that the
    part lacks, ``InputError`` where no source says whether the part has 2:4 sparsity, ``DoesNotFit`` where
    it does not fit even so.
    """
    run = partial(
        roofline,
        accelerator=accelerator,
        batch_size=batch_size,
        precision=precision,
        compute_efficiency=compute_efficiency,
        memory_efficiency=memory_efficiency,
        kernel_overhead=kernel_overhead,
    )
    before, why = _if_it_fits(partial(run, model, **work))
    plain = forward_pass(model, batch_size=batch_size, precision=precision, **work)
    if isinstance(method, Distilled):
        count = forward_pass(method.student, batch_size=batch_size, precision=precision, **work)
        after = run(method.student, **work)
    else:
        stored = work.get("weight_precision") or precision
        count, computed, sparse = _compressed(model, accelerator, method, plain, batch_size, precision, stored, work)
        speed = accelerator.peak_flops(computed) * compute_efficiency
        after = timed(
            count,
            model,
            accelerator,
            precision=computed,
            speed=speed,
            bandwidth=si(accelerator.memory_bandwidth) * memory_efficiency,
            compute=(count.matrix_flops / sparse + count.pair_flops) / speed,
            batch_size=batch_size,
            kernel_overhead=kernel_overhead,
        )
    return CompressionAnswer(
        method=method,
        before=before,
        after=after,
        weights_before=plain.held_weights,
        weights_after=count.held_weights,
        why_not=why,
    )


def _if_it_fits(run: Callable[[], RooflineAnswer]) -> tuple[RooflineAnswer | None, str]:
    """The pass; or none, and why the model does not fit."""
    try:
        return run(), ""
    except DoesNotFit as error:
        return None, str(error)


def sparse_speed(accelerator: Accelerator, precision: str) -> float:
    """Speed of 2:4 sparse over dense arithmetic by the datasheet: 2, or 1 where the accelerator lacks it.

    NVIDIA's data-centre and desktop parts have it from Ampere (2020) on, AMD's from CDNA 3 (2023) on, at the
    precisions of matrix units. ``InputError`` for other vendors: no source was read.
    *Source*: NVIDIA A100 Tensor Core GPU Architecture (2020); AMD CDNA 3 Architecture (2023).

    >>> from secondorder.fleets.accelerators import accelerators
    >>> sparse_speed(accelerators.a100_80gb, "fp16"), sparse_speed(accelerators.t4, "fp16")
    (2.0, 1.0)
    """
    first = {"NVIDIA": 2020, "AMD": 2023}.get(accelerator.vendor)
    if first is None:
        raise InputError(
            f"2:4 sparsity of {accelerator.name}",
            given="no figure",
            expected="how much faster its sparse arithmetic is",
            remedy="give it: TwoOfFour(speed=1.0) where it has none",
        )
    return 2.0 if accelerator.released >= first and precision in SPARSE_PRECISIONS else 1.0


def _compressed(
    model: Model,
    accelerator: Accelerator,
    method: Quantised | Unstructured | TwoOfFour | Structured,
    plain: ForwardPass,
    batch_size: Whole,
    precision: str,
    stored: str,
    work: Work,
) -> tuple[ForwardPass, str, float]:
    """The work that is left, the precision of its arithmetic, and how much faster arithmetic on weights is."""
    width = bytes_per_value(stored)
    match method:
        case Quantised():
            return _quantised(model, method, batch_size, precision, work), method.arithmetic or precision, 1.0
        case Unstructured():
            share = min(1.0, method.kept + 1 / (8 * width)) if method.sparse_kernels else 1.0
            return _lighter(plain, share), precision, 1.0
        case TwoOfFour():
            speed = method.speed if method.speed is not None else sparse_speed(accelerator, precision)
            return _lighter(plain, 0.5 + 1 / (8 * width) if speed > 1 else 1.0), precision, speed
        case Structured():
            return _lighter(plain, method.kept)._replace(matrix_flops=plain.matrix_flops * method.kept), precision, 1.0


def _lighter(work: ForwardPass, share: float) -> ForwardPass:
    """The same work on weights that take a share of their bytes."""
    return work._replace(weight_bytes=work.weight_bytes * share, held_weights=work.held_weights * share)


def _quantised(model: Model, method: Quantised, batch: Whole, precision: str, work: Work) -> ForwardPass:
    options: Work = {**work, "weight_precision": method.weights}
    if method.cache is not None:
        options["kv_precision"] = method.cache
    count = forward_pass(model, batch_size=batch, precision=method.arithmetic or precision, **options)
    width = bytes_per_value(method.weights)
    scales = 1 + SCALE_BYTES / (method.group_size * width) if method.group_size is not None else 1.0
    if method.head is None:
        return _lighter(count, scales)
    if not isinstance(model, Transformer):
        raise InputError("head", given=method.head, expected=f"none, as {model.name} is no language model")
    more = bytes_per_value(method.head) - width * scales
    held = _lighter(count, scales)
    return held._replace(
        weight_bytes=held.weight_bytes + more * model.head_parameters,
        held_weights=held.held_weights + more * (model.head_parameters + model.embedding_parameters),
    )


SOURCE = "roofline (Williams 2009) before and after"
AS_MODELLED = approximation()


def solve_compression(scenario: Compression) -> Answer:
    """What a method does to one pass: latency, weights, memory; order 0 is the model as it is.

    >>> from secondorder.fleets.accelerators import accelerators
    >>> from secondorder.workloads.models import models
    >>> scenario = Compression(
    ...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm, precision="bf16", input_tokens=1,
    ...     context_tokens=2048, method="quantised int4 head=bf16 group_size=128")
    >>> round(solve_compression(scenario).best("speedup").amount, 2)
    2.73
    """
    work: Work = {}
    if scenario.input_tokens is not None:
        work = {"input_tokens": scenario.input_tokens, "context_tokens": scenario.context_tokens}
    found = compress(
        scenario.model,
        scenario.accelerator,
        scenario.way,
        batch_size=scenario.batch_size,
        precision=scenario.precision,
        compute_efficiency=scenario.compute_efficiency,
        memory_efficiency=scenario.memory_efficiency,
        kernel_overhead=scenario.kernel_overhead,
        **work,
    )
    before, gain = found.before, _gain(scenario, found)
    estimates = [
        *_rungs("latency", "s", None if before is None else float(before.latency), float(found.after.latency), gain),
        *_rungs("weights", "byte", found.weights_before, found.weights_after),
        *_rungs("footprint", "byte", None if before is None else float(before.footprint), float(found.after.footprint)),
        _rung("weight_ratio", "", 1, found.weight_ratio),
    ]
    if before is not None:
        estimates.append(_rung("speedup", "", 1, float(found.speedup), gain))
    why = f"; as it is: {found.why_not}" if found.why_not else ""
    word = next(word for word, kind in METHODS.items() if isinstance(found.method, kind))
    what = f"{scenario.model.name} on {scenario.accelerator.name}, {word}"
    how = f"{what}; bound by {found.after.bottleneck}{why}"
    return Answer(scenario=scenario.name, estimates=tuple(estimates), how=how)


def _gain(scenario: Compression, found: CompressionAnswer) -> Standing:
    """What is claimed of the gain: which side of the truth the gain is on, or why there is none."""
    same = found.weights_after == found.weights_before
    match found.method:
        case Quantised():
            return bound("the gain from above: widening and rescaling take no time")
        case Unstructured() if not found.method.sparse_kernels:
            why = "dense kernels read and compute the zeros too: nothing is gained without sparse_kernels=true"
            return approximation(why)
        case Unstructured():
            return bound("the gain from above: decoding takes no time")
        case TwoOfFour() if same:
            where = f"on {scenario.accelerator.name} in {scenario.precision}"
            return approximation(f"2:4 sparse arithmetic is no faster {where}: nothing is gained")
        case TwoOfFour():
            return bound("the gain from above: sparse matrix units reach their full rate")
        case Structured():
            return bound("the gain from below: activations, cache and attention's pairs are counted as before")
        case Distilled():
            return approximation()


def _rungs(metric: str, unit: str, before: float | None, after: float, standing: Standing = AS_MODELLED) -> list[Rung]:
    as_it_is = [] if before is None else [_rung(metric, unit, 0, before, bound("the model as it is"))]
    return [*as_it_is, _rung(metric, unit, 1, after, standing)]


def _rung(metric: str, unit: str, order: int, amount: float, standing: Standing = AS_MODELLED) -> Rung:
    return rung(metric, amount, unit, SOURCE, order, standing.note, claim=standing.claim)
