"""A model made smaller: numbers stored in fewer bits, weights left out, or another model in its place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le

from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.quantities import Checked, Count, Duration, Efficiency
from secondorder.spelling import read
from secondorder.workloads.models import models
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer

Model: TypeAlias = Transformer | Network
Share = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Quantised(Checked):
    """Numbers stored, and perhaps computed with, at another precision.

    - ``weights``: what weights are stored in.
    - ``arithmetic``: what is computed in; not given, that of the model: weights are widened on the way, and only
      fewer bytes are read (``weight-only``).
    - ``cache``: what a language model's cache is stored in; not given, the arithmetic's.
    - ``group_size``: weights that share a scale of fp16; if not given, the scales do not count.
    - ``head``: what embedding and output head are stored in, where they are left out; not given, as the weights.
    """

    weights: str
    arithmetic: str | None = None
    cache: str | None = None
    group_size: Count | None = None
    head: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for precision in (self.weights, self.arithmetic, self.cache, self.head):
            if precision is not None:
                bytes_per_value(precision)


@dataclass(frozen=True, kw_only=True)
class Unstructured(Checked):
    """Single weights set to 0 wherever they stand, a share ``kept``.

    Dense kernels compute and read the zeros all the same: nothing is gained. With ``sparse_kernels`` weights lie in
    memory as a bit each and the kept values, and are widened on the chip: fewer bytes, the same arithmetic.
    *Source*: Xia et al., Flash-LLM (2023), "load as sparse, compute as dense".
    """

    kept: Share
    sparse_kernels: bool = False


@dataclass(frozen=True, kw_only=True)
class TwoOfFour(Checked):
    """Two of every four weights set to 0, on parts whose matrix units skip them: at most twice as fast.

    Weights take ``1/2 + 1/(8 bytes)`` of their bytes: half the values and two bits for each. Where the part does not
    have it, nothing is gained. ``speed``: of sparse over dense arithmetic, where the part's is not known here, or was
    measured.
    *Source*: Mishra et al., Accelerating Sparse Deep Neural Networks (2021), sections 3.1 and 3.2.
    """

    speed: Annotated[float, Ge(1), Le(2)] | None = None


@dataclass(frozen=True, kw_only=True)
class Structured(Checked):
    """Whole channels, neurons or heads taken out: matrices become smaller, a share ``kept`` of their weights stays.

    FLOPs on weights and their bytes shrink alike; attention's pairs, the cache and activations are counted as before,
    so the gain is a *lower bound* where heads or channels go.
    """

    kept: Share


@dataclass(frozen=True, kw_only=True)
class Distilled(Checked):
    """Another, smaller model, trained to do the same."""

    student: Model


Method: TypeAlias = Quantised | Unstructured | TwoOfFour | Structured | Distilled
METHODS: Mapping[str, type[Method]] = {
    "quantised": Quantised,
    "unstructured": Unstructured,
    "two-of-four": TwoOfFour,
    "structured": Structured,
    "distilled": Distilled,
}


def read_method(text: str) -> Method:
    """A method in one line: ``quantised int4 group_size=128 head=bf16``, ``unstructured 0.5 sparse_kernels=true``,
    ``two-of-four``, ``structured 0.7``, ``distilled llama_3_2_1b``.

    >>> read_method("structured 0.7").kept
    0.7
    """
    word, _, rest = text.strip().partition(" ")
    if word.lower() != "distilled":
        return read(text, METHODS, what="method", example="quantised int4")
    if rest.strip() not in models:
        raise models.unknown(rest.strip(), "method.student")
    return Distilled(student=models[rest.strip()])


@dataclass(frozen=True, kw_only=True)
class Compression(Checked):
    """One forward pass before and after a method of compression. Accuracy is not modelled.

    - ``model``: network that is compressed, from the zoo (llama_3_1_8b).
    - ``accelerator``: accelerator that runs it, from the zoo (h100_sxm).
    - ``method``: what is done: "quantised int4 group_size=128 head=bf16", "unstructured 0.5", "two-of-four",
      "structured 0.7" or "distilled llama_3_2_1b".
    - ``precision``: number format of the model as it is, such as bf16.
    - ``batch_size``: inputs, or sequences, of a pass.
    - ``input_tokens``: new tokens of each sequence, required for a language model; 1 is a decode step.
    - ``context_tokens``: tokens of each sequence that are cached already.
    - ``compute_efficiency``: share of the datasheet's FLOP/s that is reached.
    - ``memory_efficiency``: share of the datasheet's memory bandwidth that is reached.
    - ``kernel_overhead``: time of each layer that nothing hides ("5 us").
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` for contradictory values.
    """

    model: Model
    accelerator: Accelerator
    method: Method | str
    precision: str
    batch_size: Count = 1
    input_tokens: Count | None = None
    context_tokens: Annotated[int, Ge(0)] = 0
    compute_efficiency: Efficiency = 1.0
    memory_efficiency: Efficiency = 1.0
    kernel_overhead: Duration = "10 µs"
    name: str = "compression"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_tokens is None and self.context_tokens:
            raise InputError("context_tokens", given=self.context_tokens, expected="input_tokens too")

    @property
    def way(self) -> Method:
        """The method, read."""
        assert not isinstance(self.method, str)
        return self.method
