"""How many tokens a request brings and asks for: the joint law of input and output lengths.

>>> chat = Lengths(input=512, output=Geometric(256))
>>> round(chat.mean_output, 6), round(chat.second_moment_output)
(256.0, 130816)
>>> round(lengths.azure_conv_2023.mean_input, 1), round(lengths.azure_conv_2023.correlation, 3)
(1154.7, -0.112)

A law is always discrete, with a finite support of integers of at least 1, and it is the same
law for every witness: ``sample`` draws from it for a simulation, ``expect`` integrates over
it for a closed form. A law without an upper end is cut far out in its tail, where its own
docstring says, and the mass beyond lies on the cut; ``maximum`` puts the cut where one wants it.

Laws have a spelling in one line:

>>> read_lengths("input=lognormal 1024 cv=1.5 output=256") == Lengths(input=LogNormal(1024, cv=1.5), output=256)
True
>>> read_lengths("azure_code_2023")
<azure_code_2023: 2000 pairs>
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Annotated, ClassVar, TypeAlias

import numpy as np
from annotated_types import Ge

from secondorder import spelling
from secondorder.arrays import EqualByValue, Floats, Integers
from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Count, Positive
from secondorder.workloads.requests import token_counts
from secondorder.zoo import Source, Zoo

MAX_SUPPORT = 2**22
"""The longest support that is tabulated; a law that needs more must be given a ``maximum``."""

# Marginal laws


class _Marginal(spelling.Spelled):
    """A law of one length."""

    def support(self) -> tuple[Integers, Floats]:
        """The lengths that occur, in ascending order, and their probabilities (they sum to 1)."""
        raise NotImplementedError

    def sample(self, n: int, rng: np.random.Generator) -> Integers:
        """``n`` independent lengths."""
        raise NotImplementedError

    def moment(self, order: int) -> float:
        """``E[N^order]`` of the discrete law, summed over its support."""
        values, weights = _support(self)
        return float(weights @ values.astype(np.float64) ** order)

    def grid(self, points: int = 64) -> tuple[Floats, Floats]:
        """At most ``points`` lengths with weights that stand for the law in an integral.

        The support itself where it is that short. Otherwise it is cut into ``points/2``
        cells, even in their shares of ``E[1]``, ``E[N]`` and ``E[N^2]`` together, and each
        cell gives the two points of its Gauss quadrature (Miller and Rice, 1983), so that
        every polynomial up to the third degree is integrated exactly. Points are then no integers.
        """
        if points < 2:
            raise InputError("points", given=points, expected="an integer of at least 2")
        return _grid(self, points)


@dataclass(frozen=True)
class Fixed(_Marginal):
    """Always the same number of ``tokens``."""

    word: ClassVar[str] = "fixed"
    tokens: Count

    def support(self) -> tuple[Integers, Floats]:
        """One length, of probability 1."""
        return np.array([self.tokens]), np.ones(1)

    def sample(self, n: int, rng: np.random.Generator) -> Integers:
        """``n`` times ``tokens``. ``rng`` is not used."""
        return np.full(n, self.tokens, dtype=np.int64)


@dataclass(frozen=True)
class Uniform(_Marginal):
    """Every integer from ``low`` to ``high``, both included, equally likely.

    >>> Uniform.around(512, ratio=0.25)
    Uniform(low=384, high=640)
    """

    word: ClassVar[str] = "uniform"
    low: Count
    high: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.high < self.low:
            raise InputError("high", given=self.high, expected=f"at least low, {self.low}")
        _affordable("high", self.high - self.low)

    @classmethod
    def around(cls, tokens: int, *, ratio: float) -> "Uniform":
        """As vLLM's ``--random-range-ratio``: ``floor(tokens (1-ratio))`` to ``ceil(tokens (1+ratio))``.

        The lower end is at least 1. (Earlier vLLM drew from
        ``tokens * ratio`` to ``tokens``.)
        """
        if not 0 <= ratio < 1:
            raise InputError("ratio", given=ratio, expected="a number of at least 0 and below 1")
        return cls(max(1, math.floor(tokens * (1 - ratio))), math.ceil(tokens * (1 + ratio)))

    def support(self) -> tuple[Integers, Floats]:
        """All of ``low .. high``."""
        values = np.arange(self.low, self.high + 1)
        return values, np.full(len(values), 1 / len(values))

    def sample(self, n: int, rng: np.random.Generator) -> Integers:
        """``n`` independent integers."""
        return rng.integers(self.low, self.high, n, endpoint=True)


@dataclass(frozen=True)
class Geometric(_Marginal):
    """``P(N = k) = p (1-p)^(k-1)`` for ``k = 1, 2, ...`` with ``p = 1/mean``: no memory.

    Cut at ``maximum``, if given: longer ones become that long, so that the mean is below
    ``mean``. Without it the law is cut where a share of 1e-15 lies beyond.

    >>> round(Geometric(256).moment(1), 9), round(Geometric(256, maximum=512).moment(1), 1)
    (256.0, 221.5)
    """

    word: ClassVar[str] = "geometric"
    mean: Annotated[float, Ge(1)]
    maximum: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _affordable("mean", self._last)

    @property
    def _last(self) -> int:
        last = 1 if self.mean == 1 else math.ceil(math.log(1e-15) / math.log1p(-1 / self.mean))
        return min(last, self.maximum or last)

    def support(self) -> tuple[Integers, Floats]:
        """``1, 2, ...`` to the cut, which holds all that would lie beyond."""
        values, p = np.arange(1, self._last + 1), 1 / self.mean
        weights = p * np.power(1 - p, values - 1.0, dtype=np.float64)
        weights[-1] /= p
        return values, weights / weights.sum()

    def sample(self, n: int, rng: np.random.Generator) -> Integers:
        """``n`` independent lengths."""
        return np.minimum(rng.geometric(1 / self.mean, n), self._last)


@dataclass(frozen=True)
class LogNormal(_Marginal):
    """A lognormal variable of the given ``mean`` and ``cv``, rounded to the nearest integer of at least 1.

    ``P(N = k) = F(k + 1/2) - F(k - 1/2)``, ``P(N = 1) = F(3/2)``, where ``F`` is the lognormal
    law with ``sigma^2 = ln(1 + cv^2)`` and ``mu = ln(mean) - sigma^2/2``. ``mean`` and ``cv``
    (standard deviation over mean) are those before rounding; ``moment(1)`` is the exact
    mean after it, and differs noticeably only where lengths of a token or two are common.

    Cut at ``maximum``, if given; without it where a share of 1e-9 lies beyond.

    >>> round(LogNormal(256, cv=1.0).moment(1), 3), round(LogNormal(2, cv=1.0).moment(1), 3)
    (256.0, 2.108)
    """

    word: ClassVar[str] = "lognormal"
    mean: Annotated[float, Ge(1)]
    cv: Positive
    maximum: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _affordable("cv", self._last)

    @property
    def _mu_sigma(self) -> tuple[float, float]:
        variance = math.log1p(self.cv**2)
        return math.log(self.mean) - variance / 2, math.sqrt(variance)

    @property
    def _last(self) -> int:
        mu, sigma = self._mu_sigma
        last = max(1, math.ceil(math.exp(min(mu + 5.9978070150 * sigma, 700.0))))  # the normal quantile of 1 - 1e-9
        return min(last, self.maximum or last)

    def support(self) -> tuple[Integers, Floats]:
        """``1, 2, ...`` to the cut, which holds all that would lie beyond."""
        from scipy.special import ndtr

        mu, sigma = self._mu_sigma
        values = np.arange(1, self._last + 1)
        beyond = ndtr((mu - np.log(values[:-1] + 0.5)) / sigma)
        weights: Floats = -np.diff(beyond, prepend=1.0, append=0.0)
        return values, weights

    def sample(self, n: int, rng: np.random.Generator) -> Integers:
        """``n`` independent lengths."""
        drawn = np.rint(rng.lognormal(*self._mu_sigma, n))
        return np.clip(drawn, 1, self._last).astype(np.int64)


Marginal: TypeAlias = Fixed | Uniform | Geometric | LogNormal

MARGINALS: Mapping[str, type[Marginal]] = {law.word: law for law in (Fixed, Uniform, Geometric, LogNormal)}
"""The laws of one length, by the word that spells them."""


def read_marginal(text: str, what: str = "length") -> Marginal:
    """The law of one length that a line spells: an integer, or a word and the law's fields.

    >>> read_marginal("256"), read_marginal("geometric 256"), read_marginal("uniform 1 high=255")
    (Fixed(tokens=256), Geometric(mean=256.0, maximum=None), Uniform(low=1, high=255))
    >>> read_marginal("geometrc 256")
    Traceback (most recent call last):
    secondorder.errors.UnknownName: length: got 'geometrc', expected fixed, uniform, geometric, lognormal; did you ...
    """
    if re.fullmatch(r"[-+\d.]+", bare := text.strip()):
        bare = f"fixed {bare}"
    return spelling.read(bare, MARGINALS, what=what, example="geometric 256")


def _affordable(name: str, size: int) -> None:
    if size > MAX_SUPPORT:
        raise InputError(
            name, given=f"lengths up to {size:.3g} tokens", expected=f"at most {MAX_SUPPORT}", remedy="set maximum"
        )


@lru_cache(maxsize=8)
def _support(law: _Marginal) -> tuple[Integers, Floats]:
    values, weights = law.support()
    return values[weights > 0], weights[weights > 0]


@lru_cache(maxsize=256)
def _grid(law: _Marginal, points: int) -> tuple[Floats, Floats]:
    integers, weights = _support(law)
    values = integers.astype(np.float64)
    if len(values) > points:
        values, weights = _gauss(values, weights, _cells(values, weights, points // 2))
    values.flags.writeable = weights.flags.writeable = False
    return values, weights


def _cells(values: Floats, weights: Floats, cells: int) -> Integers:
    """Where each cell begins: cells hold equal shares of the mean of three measures."""
    parts = weights, weights * values, weights * values**2
    share = np.sum([np.cumsum(part) / part.sum() for part in parts], axis=0)
    cell = np.minimum((share / 3 * cells).astype(np.int64), cells - 1)
    return np.flatnonzero(np.diff(cell, prepend=-1))


def _gauss(values: Floats, weights: Floats, starts: Integers) -> tuple[Floats, Floats]:
    """Two points a cell, with the cell's own mass, mean, variance and skewness."""

    def over_cells(terms: Floats) -> Floats:
        return np.add.reduceat(weights * terms, starts)

    mass = over_cells(np.ones_like(values))
    mean = over_cells(values) / mass
    deviation = values - np.repeat(mean, np.diff(starts, append=len(values)))
    sigma = np.sqrt(over_cells(deviation**2) / mass)
    skewness = over_cells(deviation**3) / mass / np.where(sigma > 0, sigma, 1.0) ** 3
    root = np.sqrt(skewness**2 + 4)
    nodes = np.concatenate([mean + sigma * (skewness - root) / 2, mean + sigma * (skewness + root) / 2])
    return nodes, np.concatenate([mass * (1 + skewness / root) / 2, mass * (1 - skewness / root) / 2])


# Joint laws


class _Joint:
    """A law of the pair (input, output)."""

    def grid(self, points: int = 64) -> tuple[Floats, Floats, Floats]:
        """Input lengths, output lengths and weights (they sum to 1) that stand for the law in an integral."""
        raise NotImplementedError

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """``n`` independent pairs: the input lengths and the output lengths."""
        raise NotImplementedError

    def expect(self, function: Callable[[Floats, Floats], Floats], points: int = 64) -> float:
        """``E[function(I, O)]``; ``function`` takes and returns arrays.

        Exact for recorded pairs, for short supports, and for polynomials up to the third
        degree in each length; otherwise a quadrature over ``grid(points)``: see whether
        doubling ``points`` moves it.
        """
        inputs, outputs, weights = self.grid(points)
        return float(np.sum(weights * function(inputs, outputs)))

    @property
    def mean_input(self) -> float:
        """``E[I]``, in tokens."""
        return self.expect(lambda i, o: i)

    @property
    def mean_output(self) -> float:
        """``E[O]``, in tokens."""
        return self.expect(lambda i, o: o)

    @property
    def second_moment_input(self) -> float:
        """``E[I^2]``."""
        return self.expect(lambda i, o: i**2)

    @property
    def second_moment_output(self) -> float:
        """``E[O^2]``."""
        return self.expect(lambda i, o: o**2)

    @property
    def mean_product(self) -> float:
        """``E[I O]``."""
        return self.expect(lambda i, o: i * o)

    @property
    def scv_input(self) -> float:
        """``Var[I] / E[I]^2``."""
        mean = self.mean_input
        return self.expect(lambda i, o: (i / mean - 1) ** 2)

    @property
    def scv_output(self) -> float:
        """``Var[O] / E[O]^2``."""
        mean = self.mean_output
        return self.expect(lambda i, o: (o / mean - 1) ** 2)

    @property
    def correlation(self) -> float:
        """Pearson's correlation of input and output; 0 where either is constant."""
        spread = math.sqrt(self.scv_input * self.scv_output)
        mean_input, mean_output = self.mean_input, self.mean_output
        covariance = self.expect(lambda i, o: (i / mean_input - 1) * (o / mean_output - 1))
        return covariance / spread if spread else 0.0


@dataclass(frozen=True, kw_only=True)
class Lengths(_Joint):
    """Input and output lengths that are independent of each other; an integer means a fixed length.

    - ``input``: prompt tokens: 1024, "geometric 256", "lognormal 512 cv=1.2" or "uniform 1 high=99".
    - ``output``: output tokens, in the same forms.

    >>> both = Lengths(input=LogNormal(1024, cv=1.0), output=Uniform(1, 255))
    >>> round(both.expect(lambda i, o: (i + o) * o) / both.mean_output, 1)   # mean context, by output tokens
    1194.3
    """

    input: Marginal | int
    output: Marginal | int

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            object.__setattr__(self, name, _marginal(name, getattr(self, name)))

    @property
    def marginals(self) -> tuple[Marginal, Marginal]:
        """The law of the input and the law of the output."""
        assert not isinstance(self.input, int)
        assert not isinstance(self.output, int)
        return self.input, self.output

    @property
    def max_input(self) -> int:
        """The longest input that can occur."""
        return int(_support(self.marginals[0])[0][-1])

    @property
    def max_output(self) -> int:
        """The longest output that can occur."""
        return int(_support(self.marginals[1])[0][-1])

    def grid(self, points: int = 64) -> tuple[Floats, Floats, Floats]:
        """Every pair of the two marginal grids of at most ``points`` each."""
        (inputs, by_input), (outputs, by_output) = (law.grid(points) for law in self.marginals)
        pairs = np.outer(by_input, by_output).ravel()
        return np.repeat(inputs, len(outputs)), np.tile(outputs, len(inputs)), pairs

    def __str__(self) -> str:
        return f"input={self.input} output={self.output}"

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """``n`` independent pairs. Inputs and outputs have streams of their own: another law of the one
        leaves the other's draws alone."""
        inputs, outputs = self.marginals
        for_inputs, for_outputs = rng.spawn(2)
        return inputs.sample(n, for_inputs), outputs.sample(n, for_outputs)


def _marginal(name: str, law: object) -> Marginal:
    if isinstance(law, Marginal):
        return law
    if isinstance(law, str):
        return read_marginal(law, name)
    if isinstance(law, (int, np.integer)) and not isinstance(law, bool):
        try:
            return Fixed(int(law))
        except InputError as error:
            raise error.within(name) from None
    raise InputError(name, given=repr(law), expected='an integer, or a law such as "geometric 256"')


@dataclass(frozen=True, eq=False, repr=False)
class Empirical(EqualByValue, _Joint):
    """Recorded pairs of lengths, each as likely as its ``weight``: the correlation of input and output is kept.

    Without ``weight`` all pairs are equally likely. Integrals are weighted means over the
    pairs, exact; ``points`` is not used.

    >>> seen = Empirical(input=[100, 2000], output=[300, 20], weight=[3, 1])
    >>> seen.mean_input, seen.mean_output, round(seen.correlation, 3)
    (575.0, 230.0, -1.0)
    """

    input: Integers | Sequence[int]
    output: Integers | Sequence[int]
    weight: Floats | Sequence[float] | None = None
    name: str = ""
    source: Source | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "input", token_counts("input", self.input))
        set_field(self, "output", token_counts("output", self.output))
        set_field(self, "weight", _weights(self.weight, len(self.input)))
        if not len(self.input) or len(self.output) != len(self.input):
            given = f"{len(self.input)} inputs and {len(self.output)} outputs"
            raise InputError("output", given=given, expected="one output for each input, and at least one pair")

    def __len__(self) -> int:
        return len(self.input)

    def __repr__(self) -> str:
        return f"<{self.name or 'empirical lengths'}: {len(self)} pairs>"

    @property
    def max_input(self) -> int:
        """The longest input that can occur."""
        return int(np.max(self.input))

    @property
    def max_output(self) -> int:
        """The longest output that can occur."""
        return int(np.max(self.output))

    def grid(self, points: int = 64) -> tuple[Floats, Floats, Floats]:
        """The pairs and their weights."""
        return (
            np.asarray(self.input, dtype=np.float64),
            np.asarray(self.output, dtype=np.float64),
            np.asarray(self.weight, dtype=np.float64),
        )

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """``n`` independent pairs, drawn with replacement."""
        cumulative, guide = self._guide
        chance = rng.random(n)
        cell = (chance * (len(guide) - 1)).astype(np.int64)
        drawn, end = guide[cell], guide[cell + 1]
        doubtful = np.flatnonzero(drawn < end)
        drawn[doubtful] = np.searchsorted(cumulative, chance[doubtful], side="right")
        return np.asarray(self.input)[drawn], np.asarray(self.output)[drawn]

    @cached_property
    def _guide(self) -> tuple[Floats, Integers]:
        """Cumulative weights, and the first pair of each of many equal cells of chance: most have but one."""
        cumulative = np.cumsum(np.asarray(self.weight, dtype=np.float64))
        cumulative /= cumulative[-1]
        cells = 1 << (4 * len(self)).bit_length()
        first = np.searchsorted(cumulative, np.arange(cells + 1) / cells, side="right")
        return cumulative, first

    def clip(self, *, input: int | None = None, output: int | None = None) -> "Empirical":
        """The same pairs, no longer than ``input`` and ``output`` tokens: longer ones become that long."""
        return replace(
            self,
            input=self.input if input is None else np.minimum(self.input, input),
            output=self.output if output is None else np.minimum(self.output, output),
        )


def _weights(given: Floats | Sequence[float] | None, size: int) -> Floats:
    """Weights of sum 1, equal where none are given."""
    expected = f"{size} positive numbers, one a pair"
    try:
        weights = np.ones(size) if given is None else np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("weight", given=repr(given), expected=expected) from None
    if weights.shape != (size,) or not np.all(np.isfinite(weights) & (weights > 0)):
        raise InputError("weight", given=f"{weights.size} weights", expected=expected)
    weights /= weights.sum() or 1.0
    weights.flags.writeable = False
    return weights


LengthLaw: TypeAlias = Lengths | Empirical


def _load() -> dict[str, Empirical]:
    return {name: _read_table(name) for name in ("azure_conv_2023", "azure_code_2023")}


def _read_table(name: str) -> Empirical:
    """A table that ``python -m secondorder.workloads.tabulate`` made."""
    lines = (files("secondorder.workloads") / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    notes = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    inputs, outputs, weights = np.loadtxt(lines, delimiter=",", skiprows=len(notes) + 1).T
    source = Source(title=notes["source"], date=notes["date"], url=notes["url"], note=notes["made by"])
    return Empirical(inputs, outputs, weights, name=name, source=source)


lengths: Zoo[Empirical] = Zoo("lengths", _load)
"""Lengths seen in production, by name: ``lengths.azure_conv_2023``, ``lengths.azure_code_2023``.

Each is a table of 2,000 weighted pairs that summarises a trace: moments, quantiles and
correlation are the trace's own (``secondorder.workloads.tabulate`` says how closely).
"""


def read_lengths(text: str, what: str = "lengths") -> LengthLaw:
    """The joint law that a line spells: a name of the zoo, or ``input=LAW output=LAW``.

    Errors: ``UnknownName`` for a name, a law or a field that does not exist, ``InputError``
    for what cannot be read.
    """
    first, *rest = re.split(r"(?<!\S)(input|output)\s*=", text.strip())
    if not rest:
        try:
            return lengths[first]
        except UnknownName as error:
            raise UnknownName(what, given=error.given, expected=_SPELLING, remedy=error.remedy) from None
    if first or sorted(rest[::2]) != ["input", "output"]:
        raise InputError(what, given=repr(text), expected=_SPELLING)
    laws = {name: read_marginal(law, f"{what}.{name}") for name, law in zip(rest[::2], rest[1::2], strict=True)}
    return Lengths(**laws)


_SPELLING = "a name such as azure_conv_2023, or input=LAW output=LAW with laws such as 256 and geometric 256"
