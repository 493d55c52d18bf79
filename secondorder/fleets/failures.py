"""What fails and when: failure rates with their sources, and processes of failures.

A law of lifetimes does not yet say when a platform fails. Its nodes may all be as new after
each failure (``PlatformRenewal``), may be of all ages and only the failed one be replaced
(``StationaryNodes``), or may all be new at the start (``NewNodes``). Only for exponential
lifetimes are these one and the same; with any other law the user must choose:

>>> read_failures("exponential 3 h") == PlatformRenewal(gap="exponential 3 h")
True
>>> read_failures("weibull 3 h shape=0.7")
Traceback (most recent call last):
secondorder.errors.InputError: failures: got 'weibull 3 h shape=0.7', expected what a failure renews; write
"renewal weibull 3 h shape=0.7" (the whole platform), "stationary NODES weibull 3 h shape=0.7" (one node of a fleet of
all ages) or "new NODES weibull 3 h shape=0.7" (one node of a fleet that starts new)
>>> round(read_failures("stationary 2048 weibull 6000 h shape=0.7").mtbf)
10547
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from secondorder.errors import InputError, UnknownName
from secondorder.laws import LAWS, Exponential, Service, Time, Timed, read_law
from secondorder.quantities import Checked, Count, Duration, Quantity, Unit, registry, si
from secondorder.spelling import read
from secondorder.zoo import Source, Zoo, read_entries


@dataclass(frozen=True, kw_only=True)
class PlatformRenewal(Timed):
    """The whole platform is as good as new after each failure: independent gaps of one law.

    >>> PlatformRenewal(gap="weibull 3 h shape=0.7").mtbf
    10800.0
    """

    _times = ("gap",)
    gap: Time

    @property
    def mtbf(self) -> float:
        """Mean time between failures of the platform in s."""
        return self.law("gap").moment(1)


@dataclass(frozen=True, kw_only=True)
class _Nodes(Timed):
    """A fleet of ``nodes``, each of which fails at the end of a ``lifetime``."""

    _times = ("lifetime",)
    lifetime: Time
    nodes: Count

    @property
    def mtbf(self) -> float:
        """Mean time between failures of the platform in s, in the long run: rates add."""
        return self.law("lifetime").moment(1) / self.nodes


@dataclass(frozen=True, kw_only=True)
class StationaryNodes(_Nodes):
    """A fleet of ``nodes`` that has long been running; a failed node is replaced by a new one.

    Node by node an equilibrium renewal process; all together nearly Poisson where nodes are many.
    """


@dataclass(frozen=True, kw_only=True)
class NewNodes(_Nodes):
    """A fleet of ``nodes`` that are all new when the run begins; a failed node is replaced by a new one.

    Below Weibull shape 1 they fail more often in the beginning than ``mtbf``, the value in the long
    run, tells; above it, less.
    """


@dataclass(frozen=True, kw_only=True)
class Bursts(Checked):
    """Failures that cluster: calm and storms alternate, each of exponential length, with Poisson failures in each.

    A Markov-modulated Poisson process with mean times between failures ``mtbf_calm`` and ``mtbf_storm``
    in periods of mean length ``calm`` and ``storm``. With ``overall``, the mean time between all failures, in the place
    of ``mtbf_calm``, that follows: the rates of both, by the share of time that each lasts, add to ``1/overall``.

    >>> Bursts(mtbf_calm="6 h", mtbf_storm="10 min", calm="24 h", storm="1 h").mtbf / 3600
    2.5
    >>> round(Bursts(overall="2.5 h", mtbf_storm="10 min", calm="24 h", storm="1 h").mtbf_calm.to("h").m, 9)
    6.0
    """

    mtbf_calm: Duration = "0 s"
    mtbf_storm: Duration
    calm: Duration
    storm: Duration
    overall: Duration | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overall is not None:
            self._calm_from(si(self.overall))
        for name in ("mtbf_calm", "mtbf_storm", "calm", "storm"):
            if si(getattr(self, name)) == 0:
                raise InputError(name, given="0 s", expected="a positive quantity in s")

    def _calm_from(self, overall: float) -> None:
        """Set the mean time between failures in calm so that the one of all is as stated."""
        calm, storm, fastest = si(self.calm), si(self.storm), si(self.mtbf_storm)
        if si(self.mtbf_calm) > 0:
            raise InputError("overall", given="a value together with mtbf_calm", expected="one of the two")
        if 0 in (calm, storm, fastest, overall):
            raise InputError("overall", given="a time of 0 s", expected="positive times beside it")
        rest = (calm + storm) / overall - storm / fastest
        if rest <= 0:
            least = (calm + storm) * fastest / storm
            given, expected = f"{overall:.6g} s", f"less than {least:.6g} s, what the storms alone give"
            raise InputError("overall", given=given, expected=expected)
        object.__setattr__(self, "mtbf_calm", registry.Quantity(calm / rest, "s"))
        object.__setattr__(self, "overall", None)

    @property
    def mtbf(self) -> float:
        """Mean time between failures in the long run in s."""
        calm, storm = si(self.calm), si(self.storm)
        return (calm + storm) / (calm / si(self.mtbf_calm) + storm / si(self.mtbf_storm))


@dataclass(frozen=True, kw_only=True)
class ReplicatedPairs(Checked):
    """``pairs`` of nodes that do the same work; the platform fails when both nodes of a pair have failed, then is as
    good as new.

    Lifetimes are exponential of mean ``lifetime``. The mean time to interruption is
    ``(1 + 4^b / C(2b, b)) lifetime / (2b)`` for ``b`` pairs.

    >>> round(ReplicatedPairs(pairs=1, lifetime="100 h").mtbf / 3600, 9)   # max of two: 1.5 means
    150.0

    *Source*: Ferreira et al., Evaluating the viability of process replication reliability for exascale
    systems (SC 2011); Casanova et al. 2012, theorem 1.
    """

    pairs: Count
    lifetime: Duration

    def __post_init__(self) -> None:
        super().__post_init__()
        if si(self.lifetime) == 0:
            raise InputError("lifetime", given="0 s", expected="a positive quantity in s")

    @property
    def mtbf(self) -> float:
        """Mean time to interruption in s; ``4^b / C(2b, b) = sqrt(pi) Gamma(b + 1) / Gamma(b + 1/2)``."""
        from scipy.special import poch

        ratio = math.sqrt(math.pi) * float(poch(self.pairs + 0.5, 0.5))
        return (1 + ratio) * si(self.lifetime) / (2 * self.pairs)


FailureProcess: TypeAlias = PlatformRenewal | StationaryNodes | NewNodes | Bursts | ReplicatedPairs


def read_failures(text: str) -> FailureProcess:
    """A process in one line: ``exponential MTBF``; ``renewal LAW``; ``stationary NODES LAW``; ``new NODES LAW``;
    ``bursts MTBF_CALM mtbf_storm=... calm=... storm=...``; ``pairs COUNT lifetime=...``.

    Errors: ``InputError``, also for a law that is not exponential without the process that it belongs to.
    """
    word, _, rest = text.strip().partition(" ")
    match word.lower():
        case "exponential":
            return PlatformRenewal(gap=_law(text))
        case "renewal":
            return PlatformRenewal(gap=_law(rest))
        case "stationary" | "new" as kind:
            count, _, law = rest.strip().partition(" ")
            if not count.isdigit():
                remedy = f'write "{kind} 2048 weibull 50000 h shape=0.7"'
                raise InputError("failures", given=repr(text), expected=f"{kind} <nodes> <law>", remedy=remedy)
            fleet = StationaryNodes if kind == "stationary" else NewNodes
            return fleet(nodes=int(count), lifetime=_law(law))
        case "bursts":
            return read(text, {"bursts": Bursts}, what="failures", example=_BURSTS)
        case "pairs":
            return read(text, {"pairs": ReplicatedPairs}, what="failures", example="pairs 1024 lifetime=5 year")
    _law(text)  # an unknown law is refused by its own name
    law = text.strip()
    expected = "what a failure renews"
    remedy = (
        f'write "renewal {law}" (the whole platform), "stationary NODES {law}" (one node of a fleet of all ages) or '
        f'"new NODES {law}" (one node of a fleet that starts new)'
    )
    raise InputError("failures", given=repr(text), expected=expected, remedy=remedy)


_BURSTS = "bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h"


def _law(text: str) -> Service:
    return read_law(text, "failures")


@dataclass(frozen=True, kw_only=True)
class FailureRates(Checked):
    """How often one ``accelerator`` or ``node`` fails: of all causes together, or component by component.

    ``mttf`` is the mean time to failure of all causes; ``components`` those of the parts, whose rates
    add. One or the other: an all-cause figure already has the components in it.

    >>> parts = FailureRates(name="parts", per="accelerator", components={"gpu": "50000 h", "nic": "150000 h"})
    >>> round(parts.mtbf(16_384) / 3600, 3)
    2.289
    >>> FailureRates(name="twice", per="accelerator", mttf="50000 h", components={"nic": "150000 h"})
    Traceback (most recent call last):
    secondorder.errors.InputError: components: got nic with an all-cause mttf, expected one of the two; an all-cause
    figure already counts its components
    """

    name: str
    per: Literal["accelerator", "node"]
    mttf: Duration | None = None
    components: Mapping[str, Quantity | str] = field(default_factory=dict)
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per not in ("accelerator", "node"):
            raise UnknownName.among("per", str(self.per), ["accelerator", "node"])
        if self.mttf is not None and self.components:
            raise InputError(
                "components",
                given=f"{', '.join(self.components)} with an all-cause mttf",
                expected="one of the two",
                remedy="an all-cause figure already counts its components",
            )
        if self.mttf is None and not self.components:
            raise InputError("mttf", given="nothing", expected="an all-cause mttf, or one for each component")
        unit = Unit("s", positive=True)
        parts = {name: unit.read(value, f"components.{name}") for name, value in self.components.items()}
        object.__setattr__(self, "components", parts)

    @property
    def rate(self) -> float:
        """Failures per second of one accelerator or node."""
        if self.mttf is not None:
            return 1 / si(self.mttf)
        return sum(1 / si(value) for value in self.components.values())

    def mtbf(self, count: int) -> float:
        """Mean time between failures of ``count`` accelerators or nodes (``per``), in s: ``1 / (count rate)``."""
        return 1 / (count * self.rate)

    def process(self, count: int) -> PlatformRenewal:
        """Poisson failures of this many."""
        return PlatformRenewal(gap=Exponential(registry.Quantity(self.mtbf(count), "s")))


def _load() -> dict[str, FailureRates]:
    entries = read_entries("secondorder.fleets", "failure_rates.toml")
    return {name: FailureRates(**fields, sources=sources) for name, (fields, sources) in entries.items()}


failure_rates: Zoo[FailureRates] = Zoo("failure rates", _load)


def named_failures(text: str, what: str = "failures") -> FailureProcess | FailureRates:
    """A process in one line, or rates from the zoo by their name.

    >>> named_failures("exponential 3 h").mtbf, named_failures("llama_3").name
    (10800.0, 'Llama 3 405B, all causes')
    """
    text = text.strip()
    if " " in text:
        return read_failures(text)
    if text in failure_rates:
        return failure_rates[text]
    if text in LAWS or text in ("renewal", "stationary", "new", "bursts", "pairs", ""):
        expected = "a process with its times, or a name of failure_rates"
        raise InputError(what, given=repr(text), expected=expected, remedy='write "exponential 3 h"')
    raise UnknownName.among(what, text, failure_rates)
