"""When requests arrive: laws with a mean rate, exact samples, and a spelling in one line.

>>> import numpy as np
>>> p = Poisson("8 request/s")
>>> p.scv, p.times(3, np.random.default_rng(1)).round(3)
(1.0, array([0.134, 0.173, 0.845]))
>>> str(read_arrivals("gamma 8 request/s burstiness=0.5").at("2 request/s"))
'gamma 2 request/s burstiness=0.5'

A law says how the gaps between arrivals are drawn. Its ``rate`` is the mean rate and its
``scv`` the squared coefficient of variation of the gap, ``variance / mean^2``, as a request
sees it: 1 for Poisson, 0 for a metronome, above 1 for bursts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.arrays import EqualByValue, Floats
from secondorder.errors import InputError
from secondorder.quantities import Positive, Quantity, Rate, Unit, registry, si
from secondorder.spelling import Spelled, read
from secondorder.workloads import requests

RateOrZero = Annotated[Quantity | str, Unit("request/s")]
Sojourn = Annotated[Quantity | str, Unit("s", positive=True)]


class ArrivalLaw(Protocol):
    """What every law of arrivals offers."""

    @property
    def rate(self) -> Rate:
        """Mean rate (a quantity in request/s)."""

    @property
    def scv(self) -> float:
        """Squared coefficient of variation of the gap between arrivals."""

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds, counted from 0."""

    def at(self, rate: Rate) -> Self:
        """The same law at another mean rate: time is stretched, the shape is kept."""


class _Renewal(Spelled):
    """A law of independent, equally distributed gaps at a given ``rate``."""

    rate: Rate

    def at(self, rate: Rate) -> Self:
        """The same law at another mean rate."""
        return replace(self, rate=rate)  # type: ignore[type-var]


@dataclass(frozen=True)
class Poisson(_Renewal):
    """Independent exponential gaps: ``P(gap > t) = exp(-rate t)``; scv 1.

    *Source*: any textbook; Kleinrock, Queueing Systems I (1975), section 2.4.
    """

    word: ClassVar[str] = "poisson"
    rate: Rate

    @property
    def scv(self) -> float:
        """1."""
        return 1.0

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds; the first comes after one gap."""
        return np.cumsum(rng.standard_exponential(_count(n))) / si(self.rate)


@dataclass(frozen=True)
class Gamma(_Renewal):
    """Independent gamma gaps of shape ``burstiness`` and mean ``1/rate``; scv ``1/burstiness``.

    - ``rate``: mean rate of the arrivals ("8 request/s").
    - ``burstiness``: shape of the gamma gaps between arrivals; 1 is Poisson, less is burstier.

    ``burstiness`` is vLLM's name (``--burstiness``): 1 is Poisson, below 1 is burstier,
    above 1 more regular. vLLM's own benchmark also rescales the times so that the last
    falls at ``n/rate``; this law does not.

    >>> Gamma("8 request/s", burstiness=0.25).scv
    4.0

    *Source*: ``vllm bench serve``, option ``--burstiness``.
    """

    word: ClassVar[str] = "gamma"
    rate: Rate
    burstiness: Positive

    @property
    def scv(self) -> float:
        """``1 / burstiness``."""
        return 1.0 / self.burstiness

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds; the first comes after one gap."""
        return np.cumsum(rng.standard_gamma(self.burstiness, _count(n))) / (self.burstiness * si(self.rate))


@dataclass(frozen=True)
class Deterministic(_Renewal):
    """One request every ``1/rate``: at ``1/rate, 2/rate, ...``; scv 0.

    >>> Deterministic("4 request/s").times(3, np.random.default_rng())
    array([0.25, 0.5 , 0.75])
    """

    word: ClassVar[str] = "deterministic"
    rate: Rate

    @property
    def scv(self) -> float:
        """0."""
        return 0.0

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds. ``rng`` is not used."""
        return np.arange(1, _count(n) + 1) / si(self.rate)


@dataclass(frozen=True, kw_only=True)
class MarkovModulated(Spelled):
    """Poisson arrivals whose rate switches between two phases (a two-state MMPP).

    In phase 1 requests arrive at ``rate_1`` and the phase lasts an exponential time of mean
    ``sojourn_1``; likewise phase 2. One of the rates may be 0 (an interrupted Poisson
    process). Time 0 falls at an arbitrary moment: phase i with probability
    ``sojourn_i / (sojourn_1 + sojourn_2)``.

    With rates ``l1, l2``, switching rates ``r1 = 1/sojourn_1``, ``r2 = 1/sojourn_2``:

    - mean rate ``(l1 r2 + l2 r1) / (r1 + r2)``;
    - scv of the gap ``1 + 2 (l1-l2)^2 r1 r2 / ((r1+r2)^2 (l1 l2 + l1 r2 + l2 r1))``;
    - index of dispersion of counts ``IDC = 1 + 2 (l1-l2)^2 r1 r2 / ((r1+r2)^2 (l1 r2 + l2 r1))``.

    Gaps are correlated, so the scv alone understates the bursts; the index of dispersion
    counts the correlation too.

    >>> day = MarkovModulated(rate_1="2 request/s", rate_2="20 request/s", sojourn_1="60 s", sojourn_2="12 s")
    >>> str(day.rate.round(3)), round(day.scv, 3), round(day.idc, 1)
    ('5.0 req / s', 3.222, 181.0)

    *Source*: Heffes and Lucantoni, IEEE JSAC 4(6), 1986; Fischer and Meier-Hellstern, The
    Markov-modulated Poisson process cookbook, Performance Evaluation 18, 1993.
    """

    word: ClassVar[str] = "markov"
    rate_1: RateOrZero
    rate_2: RateOrZero
    sojourn_1: Sojourn
    sojourn_2: Sojourn

    def __post_init__(self) -> None:
        super().__post_init__()
        if si(self.rate_1) == si(self.rate_2) == 0:
            raise InputError("rate_2", given=self.rate_2, expected="a positive rate, since rate_1 is 0")

    @property
    def _rates(self) -> tuple[float, float, float, float]:
        """``l1, l2, r1, r2`` of the formulas, in 1/s."""
        return si(self.rate_1), si(self.rate_2), 1 / si(self.sojourn_1), 1 / si(self.sojourn_2)

    @property
    def rate(self) -> Rate:
        """Mean rate, ``(l1 r2 + l2 r1) / (r1 + r2)``."""
        l1, l2, r1, r2 = self._rates
        return _per_second((l1 * r2 + l2 * r1) / (r1 + r2))

    @property
    def scv(self) -> float:
        """Of the gap between arrivals, exact; the gaps are correlated (see ``idc``)."""
        l1, l2, r1, r2 = self._rates
        return 1 + 2 * (l1 - l2) ** 2 * r1 * r2 / ((r1 + r2) ** 2 * (l1 * l2 + l1 * r2 + l2 * r1))

    @property
    def idc(self) -> float:
        """Index of dispersion of counts: variance over mean of the arrivals in a long time."""
        l1, l2, r1, r2 = self._rates
        return 1 + 2 * (l1 - l2) ** 2 * r1 * r2 / ((r1 + r2) ** 2 * (l1 * r2 + l2 * r1))

    def at(self, rate: Rate) -> "MarkovModulated":
        """The same law at another mean rate: rates times ``c``, sojourns over ``c``; scv and idc stay."""
        c = _ratio(rate, self.rate)
        return replace(
            self,
            rate_1=_per_second(si(self.rate_1) * c),
            rate_2=_per_second(si(self.rate_2) * c),
            sojourn_1=registry.Quantity(si(self.sojourn_1) / c, "s"),
            sojourn_2=registry.Quantity(si(self.sojourn_2) / c, "s"),
        )

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds from an arbitrary moment; exact, at a cost of O(n).

        From phase i the next event is an arrival with probability ``li/(li+ri)``, else a
        switch, and takes an exponential time of rate ``li + ri`` either way. A gap is
        therefore a geometric number of fruitless rounds through both phases, then the visits
        that end it, which makes it a sum of two gamma times.
        """
        l1, l2, r1, r2 = self._rates
        phases = self._phases(_count(n), rng)
        starts, ends = phases[:-1], phases[1:]
        fruitless = rng.geometric((l1 * l2 + l1 * r2 + l2 * r1) / ((l1 + r1) * (l2 + r2)), n) - 1
        visits_1 = fruitless + ((starts == 0) | (ends == 0))
        visits_2 = fruitless + ((starts == 1) | (ends == 1))
        return np.cumsum(rng.standard_gamma(visits_1) / (l1 + r1) + rng.standard_gamma(visits_2) / (l2 + r2))

    def _phases(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
        """The phase (0 or 1) at time 0 and at each of ``n`` arrivals.

        From one arrival to the next the phase is kept with probability ``g``, the second
        eigenvalue of the embedded chain, and else drawn again from the phases that arrivals see.
        """
        l1, l2, r1, r2 = self._rates
        g = l1 * l2 / (l1 * l2 + l1 * r2 + l2 * r1)
        phases = rng.random(n + 1) < l2 * r1 / (l1 * r2 + l2 * r1)
        phases[0] = rng.random() < r1 / (r1 + r2)
        anew = rng.random(n + 1) >= g
        anew[0] = True
        return phases[np.maximum.accumulate(np.where(anew, np.arange(n + 1), 0))].astype(np.int8)


@dataclass(frozen=True, eq=False, repr=False)
class TraceArrivals(EqualByValue):
    """Arrival times of a trace in seconds, replayed as they are.

    It ends where the trace ends: to ask for more arrivals than it has is an error, never a
    second round. ``rate`` is ``(n - 1) / (last - first)`` and ``scv`` that of the gaps seen.

    >>> replay = TraceArrivals([0.0, 1.0, 4.0])
    >>> replay.at("2 request/s").times(3, np.random.default_rng())
    array([0.   , 0.25, 1.  ])
    """

    recorded: Floats | Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "recorded", requests.times("recorded", self.recorded))
        requests.mean_rate(np.asarray(self.recorded))

    def __len__(self) -> int:
        return len(self.recorded)

    def __repr__(self) -> str:
        return f"<{len(self)} recorded arrivals at {requests.mean_rate(np.asarray(self.recorded)):.3g} request/s>"

    @property
    def rate(self) -> Rate:
        """Mean rate, ``(n - 1) / (last - first)``."""
        return _per_second(requests.mean_rate(np.asarray(self.recorded)))

    @property
    def scv(self) -> float:
        """Of the recorded gaps: their variance (over n - 1 gaps) over their squared mean."""
        gaps = np.diff(self.recorded)
        return float(gaps.var() / gaps.mean() ** 2)

    def at(self, rate: Rate) -> "TraceArrivals":
        """The same arrivals in stretched time, at another mean rate."""
        return TraceArrivals(np.asarray(self.recorded) / _ratio(rate, self.rate))

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` recorded times in seconds. ``rng`` is not used."""
        if _count(n) > len(self):
            raise InputError("n", given=n, expected=f"at most the {len(self)} arrivals of the trace")
        return np.array(self.recorded[:n], dtype=np.float64)


Arrivals: TypeAlias = Poisson | Gamma | Deterministic | MarkovModulated | TraceArrivals

_LAWS: Mapping[str, type[Poisson | Gamma | Deterministic | MarkovModulated]] = {
    law.word: law for law in (Poisson, Gamma, Deterministic, MarkovModulated)
}


def read_arrivals(text: str, what: str = "arrivals") -> Poisson | Gamma | Deterministic | MarkovModulated:
    """The law that a line spells: its word, its first field, the others as ``name=value``.

    >>> read_arrivals("poisson 8 request/s") == Poisson("8 request/s")
    True
    >>> read_arrivals("markov 2 request/s rate_2=20 request/s sojourn_1=1 min sojourn_2=12 s").scv.__round__(3)
    3.222
    >>> read_arrivals("gama 8 request/s burstiness=0.5")
    Traceback (most recent call last):
    secondorder.errors.UnknownName: arrivals: got 'gama', expected poisson, gamma, deterministic, markov; did you ...

    Errors: ``UnknownName`` for a law or a field that does not exist, ``InputError`` for a
    field missing, given twice or not readable; ``what`` names the law in them.
    """
    return read(text, _LAWS, what=what, example="poisson 8 request/s")


def _count(n: int) -> int:
    if n < 0:
        raise InputError("n", given=n, expected="a number of arrivals of at least 0")
    return n


def _per_second(rate: float) -> Quantity:
    return registry.Quantity(rate, "request/s")  # type: ignore[no-any-return]


def _ratio(rate: Rate, old: Rate) -> float:
    """How many times ``old`` the new ``rate`` is."""
    return si(Unit("request/s", positive=True).read(rate, "rate")) / si(old)
