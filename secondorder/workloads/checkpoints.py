"""How a released checkpoint stores its weights: each matrix at its format, scales and zero points included.

>>> weight = Weight("mlp.down_proj", 8192, 29696)
>>> gptq = Format(name="gptq int4", bits=4, scale_bytes=2, group=128, zero_bits=4, index_bytes=4)
>>> mxfp4 = Format(name="mxfp4", bits=4, scale_bytes=1, group=32)
>>> round(gptq.bits_per_value(weight), 3), mxfp4.bits_per_value(weight)
(4.16, 4.25)
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate

from secondorder.arrays import Real
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.workloads.layers import Stack, Weight


@dataclass(frozen=True, kw_only=True)
class Format:
    """``bits`` a value, and what each group of values has beside them.

    A scale of ``scale_bytes`` and a zero point of ``zero_bits`` stand for ``group`` values of a row, for a whole row
    (``group`` -1), for a whole matrix (0), or for a ``block`` of rows by columns. ``index_bytes`` is kept for each
    input (GPTQ's order of activations); ``matrix_bytes`` once a matrix.
    """

    name: str
    bits: float
    scale_bytes: float = 0.0
    group: int = 0
    zero_bits: float = 0.0
    block: tuple[int, int] | None = None
    index_bytes: float = 0.0
    matrix_bytes: float = 0.0

    def groups(self, weight: Weight) -> int:
        """Groups of one copy of a matrix."""
        if self.block is not None:
            rows, columns = self.block
            return -(-weight.outputs // rows) * -(-weight.inputs // columns)
        if self.group > 0:
            return weight.outputs * -(-weight.inputs // self.group)
        return weight.outputs if self.group < 0 else 1

    def bytes(self, weight: Weight) -> float:
        """Of one copy."""
        beside = self.groups(weight) * (self.scale_bytes + self.zero_bits / 8)
        return weight.size * self.bits / 8 + beside + self.index_bytes * weight.inputs + self.matrix_bytes

    def bits_per_value(self, weight: Weight) -> float:
        """Scales included."""
        return 8 * self.bytes(weight) / weight.size


Chooser = Callable[[str], Format | None]
"""The format of the module with this name; none where it is kept as it was."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Bytes of a checkpoint's weights: ``always`` read, ``choices`` (copies, used, bytes of one copy), head and tables.

    ``beside``: the parts that text does not pass. ``format`` names the quantised format, ``kept`` the other one.
    """

    format: str
    kept: str
    always: float
    choices: tuple[tuple[int, int, float], ...]
    head: float
    tables: float
    beside: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> float:
        """All weights of the language model."""
        return self.always + sum(copies * size for copies, _, size in self.choices) + self.head + self.tables

    def touched(self, tokens: Real) -> Real:
        """Bytes that a step over this many tokens reads, as ``Transformer.touched_bytes``."""
        hit: Real = 0.0
        for copies, used, size in self.choices:
            hit = hit + copies * (1 - (1 - used / copies) ** tokens) * size
        return self.always + hit + self.head


def stored(stack: Stack, *, kept: str, format: str = "", choose: Chooser | None = None) -> Stored:
    """The bytes of a model whose matrices are stored as ``choose`` says, everything else at ``kept``."""
    plain = bytes_per_value(kept)
    always = 0.0
    choices: dict[tuple[int, int], float] = {}
    seen: dict[tuple[Weight, Format | None], float] = {}

    def size(weight: Weight, module: str) -> float:
        chosen = choose(module) if choose is not None and weight.kind == "linear" else None
        if (weight, chosen) not in seen:
            seen[weight, chosen] = weight.size * plain if chosen is None else chosen.bytes(weight)
        return seen[weight, chosen]

    for number, layer in enumerate(stack.blocks):
        for weight in layer.weights:
            each = size(weight, f"model.layers.{number}.{weight.name}")
            if weight.used is None:
                always += each * weight.copies
            else:
                key = weight.copies, weight.used
                choices[key] = choices.get(key, 0.0) + each
    head = tables = 0.0
    for weight in stack.outside:
        each = size(weight, weight.name if weight.name == "lm_head" else f"model.{weight.name}") * weight.copies
        if weight.name == stack.head:
            head += each
        elif weight.kind == "table":
            tables += each
        else:
            always += each
    beside = {
        part: sum(size(w, f"{_PREFIXES.get(part, part)}.{w.name}") * w.copies for w in weights)
        for part, weights in stack.beside.items()
    }
    found = tuple((copies, used, each) for (copies, used), each in choices.items())
    return Stored(format=format, kept=kept, always=always, choices=found, head=head, tables=tables, beside=beside)


_PREFIXES = {"multi-token prediction": "mtp", "vision": "vision_tower"}


@dataclass(frozen=True)
class Modules:
    """Module names as quantised checkpoints list them: whole names, wildcards, ``re:`` expressions, parts."""

    exact: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str], *, parts: bool = False) -> "Modules":
        """``parts``: a name without a dot or wildcard matches any module that has it as a part of its own."""
        exact, patterns, pieces = set(), [], []
        for name in names:
            if name.startswith("re:"):
                patterns.append(re.compile(name[3:]))
            elif "*" in name:
                patterns.append(re.compile(translate(_bare(name))))
            else:
                exact.add(_bare(name))
                if parts:
                    pieces.append(name.strip("."))
        return cls(frozenset(exact), tuple(patterns), tuple(pieces))

    def __contains__(self, module: object) -> bool:
        assert isinstance(module, str)
        return any(self._match(name) for name in _spellings(module))

    def _match(self, name: str) -> bool:
        if name in self.exact or any(name.startswith(f"{known}.") for known in _owners(name) & self.exact):
            return True
        if any(pattern.match(name) for pattern in self.patterns):
            return True
        return any(f".{part}." in f".{name}." for part in self.parts)


def _owners(name: str) -> set[str]:
    pieces = name.split(".")
    return {".".join(pieces[:end]) for end in range(1, len(pieces))}


_FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "w1": ("gate_proj",),
    "w3": ("up_proj",),
    "w2": ("down_proj",),
}
_HOMES = {
    "block_sparse_moe.": "mlp.",
    "feed_forward.": "mlp.",
    "linear_attn.": "self_attn.",
    "shared_expert.": "shared_experts.",
}
_HOMES_OF_ALL = ("mlp.", "self_attn.", "mamba.")


def _bare(name: str) -> str:
    """Without the prefixes that wrappers add."""
    for prefix in ("model.language_model.", "language_model.model.", "language_model.", "backbone.", "transformer."):
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            return rest if rest.startswith(("lm_head", "model.")) else f"model.{rest}"
    return name


def _spellings(module: str) -> Iterable[str]:
    """The name, and what families and engines that fuse matrices call it."""
    yield module
    for theirs, several in _FUSED.items():
        for ours in several:
            if module.endswith(ours):
                yield module.removesuffix(ours) + theirs
    for theirs, ours in _HOMES.items():
        yield module.replace(ours, theirs)
    for ours in _HOMES_OF_ALL:
        yield module.replace(ours, "mixer.")
    yield module.replace(".experts.0.", ".experts.")
