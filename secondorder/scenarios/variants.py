"""Replicas that are not like the others: what differs, and how many there are of each.

>>> str(Variants(variants=["2 accelerator=a100_80gb", "1 max_num_seqs=64"]).variants[1])
'variant 1 max_num_seqs=64'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.quantities import Checked, Count
from secondorder.scenarios.serving import Serving
from secondorder.spelling import Spelled, read


@dataclass(frozen=True, kw_only=True)
class Variant(Spelled):
    """A number of replicas that differ in what is given.

    - ``count``: replicas of this kind.
    - ``accelerator``: accelerator that they run on.
    - ``precision``: number format of weights and arithmetic.
    - ``tensor_parallel_size``: accelerators that share each layer.
    - ``max_num_seqs``: sequences that run at once, at most.
    - ``max_num_batched_tokens``: tokens that a step may process.
    - ``num_gpu_blocks``: blocks of the KV cache.
    """

    word: ClassVar[str] = "variant"
    count: Count
    accelerator: Accelerator | None = None
    precision: str | None = None
    tensor_parallel_size: Count | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    num_gpu_blocks: Count | None = None

    def of(self, serving: Serving) -> Serving:
        """One of them, where the others are like ``serving``."""
        given = {name: value for name, value in vars(self).items() if name != "count" and value is not None}
        return replace(serving, **given)


@dataclass(frozen=True, kw_only=True)
class Variants(Checked):
    """Kinds of replicas beside those that are alike; lines of text become the kinds that they spell.

    - ``variants``: the kinds.
    """

    variants: tuple[Variant, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "variants", tuple(map(_variant, self.variants)))
        super().__post_init__()

    def of(self, serving: Serving) -> tuple[Serving, ...]:
        """All of them, where the others are like ``serving``."""
        return tuple(one for kind in self.variants for one in [kind.of(serving)] * kind.count)


def _variant(value: Any) -> Variant:
    """A kind, or the one that a text or a table spells."""
    if isinstance(value, str):
        return read(f"variant {value}", {"variant": Variant}, what="others", example="2 accelerator=a100_80gb")
    if isinstance(value, Mapping):
        return Variant(**value)
    if not isinstance(value, Variant):
        raise InputError("variants", given=repr(value), expected='"2 accelerator=a100_80gb"')
    return value
