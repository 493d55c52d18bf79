"""A deployment: several replicas of a service behind a router, what goes wrong with them, and what clients do then.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import lengths
>>> from secondorder.workloads.models import models
>>> chat = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm,
...     arrivals=Poisson("60 request/s"), lengths=lengths.azure_conv_2023)
>>> four = Deployment(serving=chat, replicas=4)
>>> len(four.engines), four.share.rate
(4, 15.0)
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Literal

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.quantities import Checked, Count, Duration, Quantity, Unit, registry, si
from secondorder.scenarios.autoscaler import Autoscaler
from secondorder.scenarios.clients import Clients, Sessions, Users
from secondorder.scenarios.replica_faults import Faults
from secondorder.scenarios.router import LeastOutstanding, PowerOfChoices, PrefixAware, Router
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.variants import Variants
from secondorder.workloads.traces import Trace

Timeout = Annotated[Quantity | str, Unit("s", positive=True)]
Retries = Annotated[int, Ge(0)]
AfterFailure = Literal["lost", "retried", "moved"]


@dataclass(frozen=True, kw_only=True)
class Deployment(Checked):
    """Replicas of a service behind a router.

    - ``serving``: one replica; its arrivals are the load of all replicas together.
    - ``replicas``: number of replicas of ``serving``.
    - ``others``: further replicas that differ from these ("2 accelerator=a100_80gb"); several kinds are separated by
      a semicolon.
    - ``router``: rule that picks a replica: random, round-robin, least-outstanding, power-of-d, least-tokens,
      prefix-aware or session.
    - ``report_interval``: time between two reports of the replicas' load to the router; 0 s is always up to date.
    - ``max_outstanding``: requests that a replica takes at once, queued ones included; it refuses more; no limit if not
      given.
    - ``autoscaler``: target of outstanding requests for each replica, and its limits ("20 most=8 start=2 min");
      ``replicas`` are on at the start.
    - ``clients``: clients who wait for their answers: a number of users ("users 32 think=10 s") or sessions of several
      turns ("sessions 5 think=10 s"); independent requests if not given.
    - ``faults``: what goes wrong ("kill 0 at=60 s restart=2 min"); several are separated by a semicolon.
    - ``after_failure``: what becomes of a failed replica's requests: lost to their clients, retried from the start, or
      moved to another replica, which recomputes their tokens so far.
    - ``timeout``: time after which a client gives up an attempt; never if not given.
    - ``withdraw``: whether the replica stops as soon as the client gives up; otherwise it computes the rest, which is
      discarded.
    - ``retries``: further attempts after a refusal, a failure or a time-out.
    - ``backoff``: mean pause before the first retry, twice as long before each further one; each is drawn
      between half and one and a half times its mean.
    - ``name``: name of the scenario in results.

    While no replica is up, requests wait at the router. The router knows at once which replicas are up. A failure
    strikes at the end of the step under way.

    Errors: ``InputError`` for a fault of a replica that does not exist, or for more choices than replicas.
    """

    serving: Serving
    replicas: Count = 2
    others: Variants | None = None
    router: Router = field(default_factory=LeastOutstanding)
    report_interval: Duration = "0 s"
    max_outstanding: Count | None = None
    autoscaler: Autoscaler | None = None
    clients: Clients | None = None
    faults: Faults | None = None
    after_failure: AfterFailure = "retried"
    timeout: Timeout | None = None
    withdraw: bool = True
    retries: Retries = 0
    backoff: Duration = "1 s"
    name: str = "deployment"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after_failure not in (known := ("lost", "retried", "moved")):
            raise InputError("after_failure", given=repr(self.after_failure), expected=" or ".join(known))
        if isinstance(self.router, PrefixAware) and not self.serving.settings.enable_prefix_caching:
            given = "prefix-aware with replicas that keep no prefixes"
            raise InputError(
                "router", given=given, expected="prefix caching", remedy="set enable_prefix_caching of the service"
            )
        if self.autoscaler is not None and (self.others is not None or self.replicas > self.autoscaler.most):
            given = "others" if self.others is not None else f"{self.replicas} replicas at the start"
            raise InputError("autoscaler", given=given, expected=f"at most {self.autoscaler.most} replicas, all alike")
        self._check_clients()
        self._check_shared_tiers()
        number = len(self.engines)
        beyond = [place for place in (self.faults.replicas if self.faults else ()) if place >= number]
        if beyond:
            raise InputError("faults", given=f"replica {beyond[0]}", expected=f"one of 0 to {number - 1}")
        if isinstance(self.router, PowerOfChoices) and self.router.choices > number:
            expected = f"at most the {number} replicas"
            raise InputError("router.choices", given=self.router.choices, expected=expected)

    def _check_clients(self) -> None:
        """Refuse a recorded trace, whose requests have times of their own, and prefixes beside those of a session."""
        if self.clients is not None and isinstance(self.serving.arrivals, Trace):
            raise InputError(
                "clients",
                given="a whole trace, whose requests do not wait for answers",
                expected="a law of arrivals, and lengths",
                remedy="pass arrivals=trace.arrivals and lengths=trace.lengths to the service",
            )
        if isinstance(self.clients, Sessions) and self.serving.prefixes is not None:
            raise InputError(
                "clients",
                given="sessions of a service with prefixes",
                expected="prompts that share what their own session said",
                remedy="leave out the prefixes of the service",
            )

    def _check_shared_tiers(self) -> None:
        """Refuse a store that replicas share whose blocks have not the same bytes, and so not the same tokens."""
        tiers = self.serving.cache_tiers.tiers if self.serving.cache_tiers else ()
        if any(tier.shared for tier in tiers) and len({engine.block_bytes for engine in self.engines}) > 1:
            raise InputError(
                "others",
                given="replicas whose cache blocks have other bytes, with a shared tier of the cache",
                expected="blocks of one size",
                remedy="give all one kv_precision, or each replica a tier of its own",
            )

    @property
    def rate(self) -> float:
        """Of all replicas together, request/s."""
        return self.serving.rate

    @property
    def goodput(self) -> dict[str, float]:
        """Latency limits of a good request in s."""
        return self.serving.objectives

    @cached_property
    def engines(self) -> tuple[Serving, ...]:
        """The service of each replica, by its number."""
        return (self.serving,) * self.replicas + (self.others.of(self.serving) if self.others else ())

    @cached_property
    def alike(self) -> bool:
        """Whether all replicas are alike."""
        return self.others is None

    @property
    def is_service(self) -> bool:
        """Whether it is one replica that nothing happens to: a service alone."""
        alone = len(self.engines) == 1 and self.faults is None and self.autoscaler is None
        return alone and self.timeout is None and self.max_outstanding is None and self.clients is None

    @property
    def shares_prefixes(self) -> bool:
        """Whether the replicas keep prefixes, and requests are known to share them: those of a session do."""
        talks = isinstance(self.clients, Sessions) and self.serving.settings.enable_prefix_caching
        return self.serving.shares_prefixes or talks

    @cached_property
    def share(self) -> Serving:
        """One replica with an equal share of the requests."""
        return self.with_share(1 / len(self.engines))

    def with_share(self, share: float, engine: Serving | None = None) -> Serving:
        """A replica with a share of the requests."""
        arrivals = self.serving.arrivals.at(registry.Quantity(self.rate * share, "request/s"))
        lengths = None if isinstance(arrivals, Trace) else self.serving.offered
        return replace(engine or self.serving, arrivals=arrivals, lengths=lengths)

    def at(self, rate: float) -> "Deployment":
        """The same at another rate of all requests, request/s. Errors: ``InputError`` for users, who set it."""
        self.check_rate()
        arrivals = self.serving.arrivals.at(registry.Quantity(rate, "request/s"))
        return replace(self, serving=replace(self.serving, arrivals=arrivals))

    def check_rate(self) -> None:
        """Refuse users where a rate is asked for: theirs follows from the answers."""
        if isinstance(self.clients, Users):
            raise InputError(
                "clients",
                given=f"{self.clients}, whose rate follows from the answers",
                expected="independent requests or sessions, whose rate can vary",
                remedy="leave out clients, or give sessions",
            )

    @property
    def interval(self) -> float:
        """Of the reports, in s."""
        return si(self.report_interval)
