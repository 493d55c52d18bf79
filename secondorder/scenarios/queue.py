"""A queue: who comes, how long a service lasts, who serves, and by which rules.

>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.laws import LogNormal
>>> queue = Queue(arrivals=Poisson("8 request/s"), service=LogNormal("100 ms", scv=4))
>>> round(queue.utilisation, 9)
0.8
>>> queue == Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4")
True

The rules are small values of their own: ``discipline`` says in which order the server works,
``routing`` who serves whom where each server has a line of its own, ``patience`` how long a
customer waits for an answer. What is not built together is refused in one line.
"""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, ClassVar, Self, TypeAlias

import numpy as np
from annotated_types import Ge, Le

from secondorder.arrays import Floats, Integers
from secondorder.errors import InputError, Unstable
from secondorder.laws import Deterministic, Service, Time, Timed, read_law, time_law
from secondorder.quantities import Checked, Count, Duration, Quantity, Rate, Unit, registry, si
from secondorder.spelling import Spelled, read
from secondorder.workloads.arrivals import Arrivals, TraceArrivals, read_arrivals

# Arrivals beside those of workloads.arrivals


@dataclass(frozen=True, kw_only=True)
class Renewal(Timed):
    """Independent gaps of any law of a time: Erlang, hyperexponential, lognormal, Pareto, measured.

    >>> Renewal(gap="erlang 125 ms stages=4").rate, Renewal(gap="erlang 125 ms stages=4").scv
    (<Quantity(8.0, 'request / second')>, 0.25)
    """

    _times = ("gap",)
    gap: Time

    @property
    def rate(self) -> Rate:
        """Mean rate, ``1 / E[gap]``."""
        rate: Quantity = registry.Quantity(1 / self.law("gap").moment(1), "request/s")
        return rate

    @property
    def scv(self) -> float:
        """Squared coefficient of variation of the gap."""
        return self.law("gap").scv

    def at(self, rate: Rate) -> "Renewal":
        """The same shape of gaps at another mean rate."""
        gap = 1 / si(Unit("request/s", positive=True).read(rate, "rate"))
        return replace(self, gap=self.law("gap").at(registry.Quantity(gap, "s")))

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds; the first comes after one gap."""
        return np.cumsum(self.law("gap").sample(n, rng))


@dataclass(frozen=True, kw_only=True)
class Closed(Timed):
    """A fixed number of ``customers`` that think, come, are served, and think again.

    >>> Closed(customers=20, think="exponential 10 s").law("think").mean
    <Quantity(10.0, 'second')>
    """

    _times = ("think",)
    customers: Count
    think: Time


@dataclass(frozen=True)
class Bulk(Spelled):
    """Bulks of ``size`` customers each, at exponential gaps; ``rate`` counts customers.

    - ``rate``: mean rate of the customers ("8 request/s").
    - ``size``: customers of a bulk.

    >>> Bulk("8 request/s", size=4).idc, Bulk("8 request/s", size=4).ahead
    (4.0, 1.5)

    *Source*: Gross and Harris, Fundamentals of Queueing Theory (1998), section 3.1.
    """

    word: ClassVar[str] = "bulk"
    rate: Rate
    size: Count

    @property
    def scv(self) -> float:
        """Of the gap between customers, ``2 size - 1``; gaps depend on each other (see ``idc``)."""
        return 2.0 * self.size - 1.0

    @property
    def idc(self) -> float:
        """Index of dispersion of counts, ``E[X^2] / E[X]``."""
        return float(self.size)

    @property
    def ahead(self) -> float:
        """Customers of its own bulk that are served before a customer, on average: ``E[X (X-1)] / (2 E[X])``."""
        return (self.size - 1) / 2

    def at(self, rate: Rate) -> Self:
        """The same bulks at another mean rate."""
        return replace(self, rate=rate)

    def times(self, n: int, rng: np.random.Generator) -> Floats:
        """The first ``n`` arrival times in seconds; the first bulk comes after one gap."""
        sizes = self._sizes(n, rng)
        bulks = np.cumsum(rng.standard_exponential(len(sizes)))
        return np.repeat(bulks, sizes)[:n] * (self.size / si(self.rate))

    def _sizes(self, n: int, rng: np.random.Generator) -> Integers:
        return np.full(-(-n // self.size), self.size)


@dataclass(frozen=True)
class GeometricBulk(Bulk):
    """Bulks of a geometric number of customers of mean ``size``, at least one, at exponential gaps.

    - ``rate``: mean rate of the customers ("8 request/s").
    - ``size``: customers of a bulk on average.

    >>> GeometricBulk("8 request/s", size=4).idc, GeometricBulk("8 request/s", size=4).ahead
    (7.0, 3.0)
    """

    word: ClassVar[str] = "geometric-bulk"

    @property
    def idc(self) -> float:
        """Index of dispersion of counts, ``2 size - 1``."""
        return 2.0 * self.size - 1.0

    @property
    def ahead(self) -> float:
        """Customers of its own bulk that are served before a customer, on average: ``size - 1``."""
        return self.size - 1.0

    def _sizes(self, n: int, rng: np.random.Generator) -> Integers:
        return rng.geometric(1 / self.size, n)


QueueArrivals: TypeAlias = Arrivals | Renewal | Bulk | Closed


def read_queue_arrivals(text: str, what: str = "arrivals") -> QueueArrivals:
    """Arrivals in one line: those of ``read_arrivals``, ``bulk``, ``renewal <law>``, ``closed <customers> <law>``.

    >>> read_queue_arrivals("renewal erlang 125 ms stages=4").scv
    0.25
    >>> read_queue_arrivals("closed 20 exponential 10 s").customers
    20
    """
    word, _, rest = text.strip().partition(" ")
    if word.lower() in (known := {kind.word: kind for kind in (Bulk, GeometricBulk)}):
        return read(text, known, what=what, example="bulk 8 request/s size=4")
    if word.lower() == "renewal":
        return Renewal(gap=read_law(rest, what))
    if word.lower() == "closed":
        customers, _, think = rest.strip().partition(" ")
        if not customers.isdigit():
            given, expected = repr(text), "closed <customers> <law of the thinking>"
            raise InputError(what, given=given, expected=expected, remedy='write "closed 20 exponential 10 s"')
        return Closed(customers=int(customers), think=think)
    return read_arrivals(text, what)


# Disciplines


@dataclass(frozen=True)
class FirstCome:
    """First come, first served, without preemption."""


@dataclass(frozen=True)
class ProcessorSharing:
    """All present are served at once and share the servers equally: each at speed ``min(1, servers/present)``."""


@dataclass(frozen=True, kw_only=True)
class Priorities(Checked):
    """Priority classes: class 1 goes first; within a class, first come, first served.

    ``shares`` of the arrivals by class, the most urgent first, which sum to 1; ``services`` a law
    for each class, or none where all have the queue's. ``preemptive``: the more urgent
    interrupts, and interrupted work is resumed where it stopped.

    >>> Priorities(shares=[0.2, 0.8]).shares
    (0.2, 0.8)
    """

    shares: tuple[float, ...]
    services: tuple[Service, ...] | None = None
    preemptive: bool = False

    def __post_init__(self) -> None:
        expected = "positive shares that sum to 1, one a class"
        try:
            shares = tuple(float(share) for share in self.shares)
        except (TypeError, ValueError):
            raise InputError("shares", given=repr(self.shares), expected=expected) from None
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise InputError("shares", given=list(shares), expected=expected)
        object.__setattr__(self, "shares", shares)
        if self.services is not None:
            if not isinstance(self.services, tuple | list):
                raise InputError("services", given=repr(self.services), expected="a list of laws, one a class")
            services = tuple(time_law(law, "services") for law in self.services)
            if len(services) != len(shares):
                raise InputError("services", given=f"{len(services)} laws", expected=f"{len(shares)}, one a class")
            object.__setattr__(self, "services", services)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class BatchService(Checked):
    """One server that serves ``b`` customers at once in ``per_batch + per_item b``.

    Free, it takes all that wait, or ``most`` of them. With ``wait_to_fill`` above 1 it first waits
    until this many are there, but no longer than ``timeout`` after the oldest of them came.

    *Source*: affine batch times: Inoue, Queueing analysis of GPU-based inference servers with
    dynamic batching, Performance Evaluation 147 (2021).
    """

    per_batch: Duration
    per_item: Duration = "0 s"
    most: Count | None = None
    wait_to_fill: Count = 1
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most is not None and self.wait_to_fill > self.most:
            expected = f"at most the {self.most} that a batch can hold"
            raise InputError("wait_to_fill", given=self.wait_to_fill, expected=expected)
        if self.timeout is not None and self.wait_to_fill == 1:
            raise InputError("timeout", given=self.timeout, expected="wait_to_fill above 1, else nothing is waited for")
        if si(self.per_batch) + si(self.per_item) == 0:
            raise InputError("per_batch", given=self.per_batch, expected="a batch that takes time")

    def seconds(self, size: int) -> float:
        """How long a batch of this many lasts."""
        return si(self.per_batch) + si(self.per_item) * size


Discipline: TypeAlias = FirstCome | ProcessorSharing | Priorities | BatchService


# Routing


@dataclass(frozen=True)
class Shared:
    """One queue for all servers."""


@dataclass(frozen=True)
class Random:
    """Each server has its own queue; a customer joins one at random."""


@dataclass(frozen=True)
class JoinShortest(Checked):
    """Each server has its own queue; a customer looks at ``d`` of them and joins the shortest.

    The number in the system counts, the one in service with it; ties are broken by chance.
    """

    d: Count = 2


@dataclass(frozen=True)
class ForkJoin:
    """Each server has its own queue; a customer puts one task in each and is done when all tasks are."""


Routing: TypeAlias = Shared | Random | JoinShortest | ForkJoin


# Impatience and outage


@dataclass(frozen=True, kw_only=True)
class Patience(Timed):
    """How long a customer waits before giving up an attempt, and what happens then.

    - ``withdrawn``: the customer leaves the line if the service has not begun within ``limit``
      (reneging, as in Erlang-A). Otherwise ``limit`` is a time-out on the answer, and the server
      still works on a request that nobody waits for any more.
    - ``retries``: how often the customer comes again, with the same work, each time after a
      ``backoff`` (at once where none is given).
    """

    _times = ("limit", "backoff")
    limit: Time
    retries: int = 0
    backoff: Time | None = None
    withdrawn: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.retries < 0:
            raise InputError("retries", given=self.retries, expected="an integer of at least 0")
        if self.backoff is not None and not self.retries:
            raise InputError("backoff", given="a law", expected="retries above 0 too")


@dataclass(frozen=True, kw_only=True)
class Outage(Checked):
    """No service begins from ``begin`` for ``duration``; a service under way is finished."""

    begin: Duration
    duration: Duration


@dataclass(frozen=True, kw_only=True)
class Queue(Timed):
    """Customers that come, wait and are served.

    - ``arrivals``: law of the arrivals ("poisson 8 request/s", "renewal erlang 125 ms stages=4"), or a closed
      population ("closed 20 exponential 10 s").
    - ``service``: time of a service, or its law ("100 ms", "lognormal 100 ms scv=4"); omit it where the discipline has
      its own times.
    - ``servers``: number of identical servers.
    - ``room``: customers that the system holds, in service and waiting; others are turned away; no limit if not given.
    - ``discipline``: order in which work is done: fcfs, ps, "priorities 0.2,0.8" or "batch per_batch=5ms per_item=1ms
      most=32".
    - ``setup``: time that a server that idled needs before it serves again, or its law ("1 s").
    - ``routing``: which server a customer goes to: one queue for all (shared), or one per server: random, "jsq d=2",
      fork-join.
    - ``patience``: time after which customers give up, and how often they try again ("5 s retries=3").
    - ``outage``: time in which no service begins ({"begin": "60 s", "duration": "10 s"}); the run is then a transient.
    - ``name``: name of the scenario in results.

    In Python ``arrivals`` may be a law of ``workloads.arrivals``, ``Renewal`` or ``Closed``, ``service`` a law of
    ``laws``; ``discipline`` is ``FirstCome``, ``ProcessorSharing``, ``Priorities`` or ``BatchService``, ``routing``
    ``Shared``, ``Random``, ``JoinShortest`` or ``ForkJoin``, ``patience`` a ``Patience``, ``outage`` an ``Outage``.
    ``BatchService``, and ``Priorities`` with ``services``, bring their own times.

    Errors: ``InputError`` for contradictory values, or rules that do not combine.
    """

    _times = ("service", "setup")
    arrivals: QueueArrivals | str
    service: Time | None = None
    servers: Annotated[int, Ge(1), Le(100_000)] = 1
    room: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    discipline: Discipline = field(default_factory=FirstCome)
    setup: Time | None = None
    routing: Routing = field(default_factory=Shared)
    patience: Patience | None = None
    outage: Outage | None = None
    name: str = "queue"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_service()
        self._check_together()
        if self.room is not None and self.room < self.servers:
            raise InputError("room", given=self.room, expected=f"at least the {self.servers} servers")
        if isinstance(self.routing, JoinShortest) and self.routing.d > self.servers:
            raise InputError("routing.d", given=self.routing.d, expected=f"at most the {self.servers} servers")

    def _check_service(self) -> None:
        own = isinstance(self.discipline, BatchService) or (
            isinstance(self.discipline, Priorities) and self.discipline.services is not None
        )
        kind = type(self.discipline).__name__
        if own and self.service is not None:
            raise InputError("service", given="a law", expected=f"none, as {kind} brings its own times")
        if not own and self.service is None:
            raise InputError("service", given="none", expected='a law such as "exponential 100 ms"')

    def _check_together(self) -> None:
        """Refuse what is not built together."""
        used = {
            "servers": self.servers > 1,
            "room": self.room is not None,
            "setup": self.setup is not None,
            "routing": not isinstance(self.routing, Shared),
            "patience": self.patience is not None,
            "outage": self.outage is not None,
            "closed arrivals": isinstance(self.arrivals, Closed),
        }
        what, allowed = self._allowed()
        if extra := [name for name, on in used.items() if on and name not in allowed]:
            built = f"{', '.join(sorted(allowed))} only" if allowed else "none of the other options"
            raise InputError(extra[0], given=f"{extra[0]} with {what}", expected=f"with {what}, {built}")

    def _allowed(self) -> tuple[str, set[str]]:
        """What the scenario is first of all, and which options go with it."""
        match self.discipline:
            case ProcessorSharing():
                return "processor sharing", {"servers", "room"}
            case Priorities(preemptive=True):
                return "preemptive priorities", set()
            case Priorities():
                return "priorities", {"servers"}
            case BatchService():
                return "batch service", set()
        if not isinstance(self.routing, Shared):
            return "a line for each server", {"servers", "routing"}
        if self.setup is not None:
            return "a set-up", {"setup"}
        if isinstance(self.arrivals, Closed):
            return "a closed population", {"servers", "closed arrivals"}
        if self.patience is not None or self.outage is not None:
            return "patience or an outage", {"servers", "patience", "outage"}
        return "a shared line", {"servers", "room"}

    # What follows from the fields

    @property
    def arrival_law(self) -> QueueArrivals:
        """The arrivals, read."""
        assert not isinstance(self.arrivals, str)
        return self.arrivals

    @property
    def open_arrivals(self) -> Arrivals | Renewal | Bulk:
        """The arrivals of a queue that is not closed; ``InputError`` for a closed one."""
        if isinstance(self.arrival_law, Closed):
            expected = "open arrivals: the load of a closed population is an answer, not given"
            raise InputError("arrivals", given="a closed population", expected=expected)
        return self.arrival_law

    @property
    def rate(self) -> float:
        """Mean rate of arrivals in 1/s; ``InputError`` for a closed population."""
        return si(self.open_arrivals.rate)

    @cached_property
    def services(self) -> tuple[tuple[float, Service], ...]:
        """Share and service law of each class; of all customers where there are no classes."""
        match self.discipline:
            case Priorities(shares=shares, services=None):
                return tuple((share, self.law("service")) for share in shares)
            case Priorities(shares=shares, services=services):
                assert services is not None
                return tuple(zip(shares, services, strict=True))
            case BatchService() as batch:
                return ((1.0, Deterministic(f"{batch.seconds(1)!r} s")),)
        return ((1.0, self.law("service")),)

    @cached_property
    def mean_service(self) -> float:
        """Mean service in s, over the classes; of a batch of one with ``BatchService``."""
        return sum(share * law.moment(1) for share, law in self.services)

    @cached_property
    def service_scv(self) -> float:
        """Squared coefficient of variation of the service over all classes; infinite where the law has no variance."""
        try:
            second = sum(share * law.moment(2) for share, law in self.services)
        except InputError:  # Pareto with a shape of at most 2
            return math.inf
        return max(second / self.mean_service**2 - 1, 0.0)

    @property
    def utilisation(self) -> float:
        """Work that is offered, as a share of what the servers can do; below 1 or the queue grows.

        ``rate E[S] / servers``; in fork-join ``rate E[S]``, as each server has a task of everyone; of
        a batch server at its largest batch, ``rate (per_batch + per_item most) / most``, or
        ``rate per_item`` without a largest. ``InputError`` for a closed population.
        """
        match self.discipline, self.routing:
            case BatchService(most=None) as batch, _:
                return self.rate * si(batch.per_item)
            case BatchService(most=int(most)) as batch, _:
                return self.rate * batch.seconds(most) / most
            case _, ForkJoin():
                return self.rate * self.mean_service
        return self.rate * self.mean_service / self.servers

    @property
    def plain(self) -> bool:
        """First come, first served by open arrivals, and no room, set-up, patience or outage to heed."""
        options = (self.room, self.setup, self.patience, self.outage)
        nothing_else = all(option is None for option in options) and not isinstance(self.arrival_law, Closed)
        return nothing_else and isinstance(self.discipline, FirstCome)

    @property
    def bounded(self) -> bool:
        """Whether the number inside is bounded at any load: finite room, a closed population, or reneging."""
        leaves = self.patience is not None and self.patience.withdrawn
        return self.room is not None or leaves or isinstance(self.arrival_law, Closed)

    @property
    def transient(self) -> bool:
        """Whether a run is a story with an end (a replayed trace, an outage) and not a sample of a steady state."""
        return self.outage is not None or isinstance(self.arrival_law, TraceArrivals)

    def check_stable(self) -> None:
        """``Unstable`` where the queue would grow without limit.

        >>> Queue(arrivals="poisson 12 request/s", service="exponential 100 ms").check_stable()
        Traceback (most recent call last):
        secondorder.errors.Unstable: queue: utilisation 1.2 of 1 server: the queue grows without limit; use at least
        2 servers or an arrival rate below 10 request/s, or give it a finite room
        """
        if self.bounded or (load := self.utilisation) < 1:
            return
        alone = isinstance(self.discipline, BatchService) or isinstance(self.routing, ForkJoin)
        more = "use " if alone else f"use at least {math.floor(load * self.servers) + 1} servers or "
        plain = isinstance(self.discipline, FirstCome | ProcessorSharing) and isinstance(self.routing, Shared)
        room = ", or give it a finite room" if plain else ""
        raise Unstable(
            f"{self.name}: utilisation {load:.6g} of {self.servers} server{'s' if self.servers > 1 else ''}: the "
            f"queue grows without limit; {more}an arrival rate below {self.rate / load:.6g} request/s{room}"
        )
