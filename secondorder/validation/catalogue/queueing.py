"""Twins of the queueing closed forms. Times are in units of a mean service of 1 s, except for batches."""

from collections.abc import Callable
from functools import partial
from typing import TypedDict, Unpack

from secondorder.analytic.queue_network import solve_queue_network
from secondorder.analytic.queues import (
    batch_service,
    multiserver_general,
    single_server,
    single_server_general,
)
from secondorder.laws import read_law
from secondorder.quantities import si
from secondorder.scenarios.queue import (
    BatchService,
    Closed,
    Discipline,
    FirstCome,
    ForkJoin,
    JoinShortest,
    Priorities,
    ProcessorSharing,
    Queue,
    QueueArrivals,
    Random,
    Renewal,
    Routing,
    Shared,
)
from secondorder.scenarios.queue_network import QueueNetwork, Station, Stations
from secondorder.simulate.queues.network import measure as measure_network
from secondorder.simulate.queues.network import run_network
from secondorder.validation.catalogue.twin import MEAN, QUANTILE, Amounts, Formula, Twin, TwinOfAKind, TwinOptions
from secondorder.workloads.arrivals import MarkovModulated

WAITS = {"wait_mean": MEAN, "wait_p99": QUANTILE}
RESPONSE = {"response_mean": MEAN}
FIRST_COME, SHARED = FirstCome(), Shared()
PER_ITEM, PER_BATCH = "0.1438 s", "1.8874 s"
"""Batch times of Inoue (2021), figure 4, in thousandths."""


def queue(
    arrivals: QueueArrivals | str | float,
    service: str | None = "exponential 1 s",
    *,
    servers: int = 1,
    room: int | None = None,
    discipline: Discipline = FIRST_COME,
    setup: str | None = None,
    routing: Routing = SHARED,
) -> Queue:
    """A queue; ``arrivals`` as a line, a population, or a rate of a Poisson stream in 1/s."""
    if isinstance(arrivals, float):
        arrivals = f"poisson {arrivals!r} request/s"
    return Queue(
        arrivals=arrivals,
        service=service,
        servers=servers,
        room=room,
        discipline=discipline,
        setup=setup,
        routing=routing,
    )


def renewal(gap: str) -> Renewal:
    return Renewal(gap=gap)


# Closed forms that the ladder does not end on: formulas of two moments


class Load(TypedDict):
    """A load, and the squared coefficient of variation of the services."""

    arrival_rate: float
    mean_service: float
    service_scv: float


class TwoMoments(Load):
    """The same, with that of the gaps."""

    arrival_scv: float


def load_of(queue: Queue) -> Load:
    """What the formulas of Poisson arrivals take."""
    return {"arrival_rate": queue.rate, "mean_service": queue.mean_service, "service_scv": queue.service_scv}


def two_moments(queue: Queue) -> TwoMoments:
    """What the formulas of two moments take."""
    return {**load_of(queue), "arrival_scv": queue.open_arrivals.scv}


def kingman(queue: Queue) -> Amounts:
    return {"wait_mean": float(single_server_general.kingman(**two_moments(queue)))}


def kingman_bound(queue: Queue) -> Amounts:
    return {"wait_mean": float(single_server_general.kingman_bound(**two_moments(queue)))}


def klb(queue: Queue) -> Amounts:
    return {"wait_mean": float(single_server_general.klb(**two_moments(queue)))}


def marchal(queue: Queue) -> Amounts:
    return {"wait_mean": float(single_server_general.marchal(**two_moments(queue)))}


def allen_cunneen(queue: Queue) -> Amounts:
    return {"wait_mean": float(multiserver_general.allen_cunneen(**two_moments(queue), servers=queue.servers))}


def whitt(queue: Queue) -> Amounts:
    return {"wait_mean": float(multiserver_general.whitt(**two_moments(queue), servers=queue.servers))}


def dispersed(queue: Queue) -> Amounts:
    """Kingman's formula with the index of dispersion for the scv of correlated gaps."""
    arrivals = queue.open_arrivals
    assert isinstance(arrivals, MarkovModulated)
    return {"wait_mean": float(single_server_general.kingman(**load_of(queue), arrival_scv=arrivals.idc))}


def kimura(queue: Queue) -> Amounts:
    return {"wait_mean": float(multiserver_general.kimura(**load_of(queue), servers=queue.servers))}


def scaled_p99(queue: Queue) -> Amounts:
    return {"wait_p99": float(single_server.scaled_wait_quantile(0.99, **load_of(queue)))}


def inoue_bound(queue: Queue) -> Amounts:
    server = queue.discipline
    assert isinstance(server, BatchService)
    given = {"item_time": si(server.per_item), "batch_time": si(server.per_batch)}
    return {"response_mean": float(batch_service.mean_response_bound(arrival_rate=queue.rate, **given))}


def nobody_waits(queue: Queue) -> Amounts:
    """Enough servers to be M/G/infinity: the number in the system is Poisson."""
    return {"number_mean": queue.rate * queue.mean_service, "response_mean": queue.mean_service}


# The twins


def exact(
    title: str, claim: str, scenario: Queue, margins: dict[str, float] = WAITS, **options: Unpack[TwinOfAKind]
) -> Twin:
    return Twin(title=title, claim=claim, suite="queueing", scenario=scenario, margins=margins, **options)


def approximation(
    title: str, claim: str, scenario: Queue, margins: dict[str, float], **options: Unpack[TwinOptions]
) -> Twin:
    return exact(title, claim, scenario, margins, kind="approximation", **options)


def bound(title: str, claim: str, scenario: Queue, margins: dict[str, float], formula: Formula) -> Twin:
    return exact(title, claim, scenario, margins, kind="bound", formula=formula)


def _first_come() -> list[Twin]:
    wait = {**WAITS, "prob_wait": 0.02}
    return [
        exact("M/M/1, rho 0.5", "Erlang: the wait of M/M/1 is exponential past 0", queue(0.5), wait),
        exact(
            "M/M/1, rho 0.8",
            "Erlang: wait and response of M/M/1",
            queue(0.8),
            {**wait, "response_p99": QUANTILE},
        ),
        exact("M/M/1, rho 0.95", "Erlang: M/M/1 near saturation", queue(0.95)),
        exact("M/M/2, rho 0.8", "Erlang C: two servers, one line", queue(1.6, servers=2), wait),
        exact(
            "M/M/8, rho 0.8",
            "Erlang C: the p99 response is not mean service plus p99 wait",
            queue(6.4, servers=8),
            {"wait_mean": MEAN, "response_p99": QUANTILE},
        ),
        exact("M/D/1, rho 0.8", "Erlang's series: constant services", queue(0.8, "deterministic 1 s"), WAITS),
        exact(
            "M/E4/1, rho 0.8",
            "Pollaczek-Khinchine, inverted: Erlang services",
            queue(0.8, "erlang 1 s stages=4"),
            {**WAITS, "response_p99": QUANTILE},
        ),
        exact(
            "M/H2/1, rho 0.8, scv 4",
            "Pollaczek-Khinchine, partial fractions: hyperexponential services",
            queue(0.8, "hyperexponential 1 s scv=4"),
            {**WAITS, "response_p99": QUANTILE},
        ),
        exact(
            "M/LN/1, rho 0.5, scv 4",
            "Pollaczek-Khinchine, inverted: lognormal services",
            queue(0.5, "lognormal 1 s scv=4"),
            customers=200_000,
        ),
        exact("E4/M/1, rho 0.8", "GI/M/1: regular gaps", queue(renewal("erlang 1.25 s stages=4")), WAITS),
        exact(
            "H2/M/1, rho 0.8, ca2 4",
            "GI/M/1: hyperexponential gaps",
            queue(renewal("hyperexponential 1.25 s scv=4")),
            {"wait_mean": MEAN, "prob_wait": 0.02, "wait_p99": QUANTILE},
        ),
        exact(
            "MMPP/M/1, rho 0.8",
            "matrix-geometric: bursts that last",
            queue("markov 1 request/s rate_2=0.6 request/s sojourn_1=100 s sojourn_2=100 s"),
            {"response_mean": MEAN, "response_p99": QUANTILE},
        ),
        exact(
            "M/D/4, rho 0.8",
            "Crommelin: constant services at several servers",
            queue(3.2, "deterministic 1 s", servers=4),
            {**WAITS, "prob_wait": 0.02},
        ),
    ]


def _finite() -> list[Twin]:
    loss = {"blocking_prob": MEAN}
    ten = partial(queue, servers=10, room=10)
    erlang = "Erlang B does not depend on the law of the service"
    return [
        exact(
            "M/M/1/10, load 0.9",
            "birth and death: a finite room",
            queue(0.9, room=10),
            {"blocking_prob": MEAN, "wait_mean": MEAN, "wait_p99": QUANTILE},
        ),
        exact("M/M/4/20, load 0.95", "birth and death: several servers", queue(3.8, servers=4, room=20), loss),
        exact("M/M/10/10, exponential", erlang, ten(8.0), loss),
        exact("M/G/10/10, deterministic", erlang, ten(8.0, "deterministic 1 s"), loss),
        exact("M/G/10/10, lognormal scv 4", erlang, ten(8.0, "lognormal 1 s scv=4"), loss),
        exact(
            "M/G/inf, lognormal scv 4",
            "with servers for everybody the mean number is the load, whatever the law",
            queue(10.0, "lognormal 1 s scv=4", servers=100),
            {"number_mean": 0.02, "response_mean": 0.02},
            formula=nobody_waits,
        ),
    ]


def _disciplines() -> list[Twin]:
    shared = partial(queue, discipline=ProcessorSharing())
    classes = Priorities(
        shares=(0.25, 0.75), services=(read_law("deterministic 1 s"), read_law("hyperexponential 1 s scv=4"))
    )
    by_class = {"wait_mean_class_1": MEAN, "wait_mean_class_2": 0.1}
    rude = Priorities(shares=classes.shares, services=classes.services, preemptive=True)
    insensitive = "the mean response of processor sharing does not depend on the law"
    return [
        exact(
            "M/M/1-PS, rho 0.5",
            "Coffman, Muntz and Trotter: the p99 of processor sharing",
            shared(0.5),
            {**RESPONSE, "response_p99": QUANTILE},
        ),
        exact("M/D/1-PS, rho 0.7", insensitive, shared(0.7, "deterministic 1 s"), RESPONSE),
        exact("M/H2/1-PS, rho 0.7, scv 4", insensitive, shared(0.7, "hyperexponential 1 s scv=4"), RESPONSE),
        exact("priorities, rho 0.7", "Cobham: two classes, M/G/1", queue(0.7, None, discipline=classes), by_class),
        exact(
            "priorities, M/M/4, rho 0.8",
            "Cobham: two classes, M/M/c",
            queue(3.2, servers=4, discipline=Priorities(shares=(0.25, 0.75))),
            by_class,
        ),
        exact(
            "preemptive, rho 0.7",
            "the more urgent interrupt: two classes, M/G/1",
            queue(0.7, None, discipline=rude),
            {"response_mean_class_1": 0.02, "response_mean_class_2": 0.1},
        ),
        exact(
            "set-up of 5, rho 0.5",
            "Welch: a server that idled sets up",
            queue(0.5, setup="5 s"),
            {"wait_mean": MEAN},
        ),
        exact(
            "set-up, exponential, rho 0.7",
            "Welch: a random set-up, Erlang services",
            queue(0.7, "erlang 1 s stages=2", setup="exponential 2 s"),
            {"wait_mean": MEAN},
        ),
    ]


def _routed() -> list[Twin]:
    mean_field = "the supermarket model, a limit of many servers"
    return [
        exact(
            "random routing, 4 x M/M/1",
            "a Poisson stream split by chance is Poisson",
            queue(3.2, servers=4, routing=Random()),
        ),
        exact(
            "fork-join of 2, rho 0.8",
            "Flatto and Hahn: the last of two tasks",
            queue(0.8, servers=2, routing=ForkJoin()),
            RESPONSE,
        ),
        approximation(
            "fork-join of 8, rho 0.8",
            "Nelson and Tantawi, within 5 %",
            queue(0.8, servers=8, routing=ForkJoin()),
            {"response_mean": 0.05},
        ),
        approximation(
            "fork-join of 32, rho 0.5",
            "Nelson and Tantawi, within 5 %",
            queue(0.5, servers=32, routing=ForkJoin()),
            {"response_mean": 0.05},
        ),
        approximation(
            "2 choices of 50, rho 0.8", mean_field, queue(40.0, servers=50, routing=JoinShortest(d=2)), RESPONSE
        ),
        approximation(
            "2 choices of 5, rho 0.8", mean_field, queue(4.0, servers=5, routing=JoinShortest(d=2)), RESPONSE
        ),
    ]


def _closed_and_batched() -> list[Twin]:
    load = {"throughput": 0.02, "response_mean": MEAN}
    take_all = queue(0.3 / 0.1438, None, discipline=BatchService(per_item=PER_ITEM, per_batch=PER_BATCH))
    eight = BatchService(per_item=PER_ITEM, per_batch=PER_BATCH, most=8)
    return [
        exact(
            "closed M/M/1, 20 customers",
            "mean value analysis: thinking and queueing",
            queue(Closed(customers=20, think="exponential 10 s")),
            load,
        ),
        exact(
            "closed, constant thinking",
            "mean value analysis: any law of the thinking",
            queue(Closed(customers=10, think="10 s")),
            load,
        ),
        exact(
            "closed M/M/4, 40 customers",
            "machine repair: a finite source of work",
            queue(Closed(customers=40, think="exponential 10 s"), servers=4),
            load,
        ),
        exact(
            "take-all batches, load 0.3",
            "Inoue: a GPU that takes all that wait",
            take_all,
            {"response_mean": 0.02, "batch_mean": 0.02},
        ),
        bound(
            "take-all batches, bound",
            "Inoue: no mean response is above min(phi0, phi1)",
            take_all,
            {"response_mean": 0.01},
            inoue_bound,
        ),
        exact(
            "batches of up to 8, load 0.9",
            "Neuts: a batch server with a largest batch",
            queue(0.9 * 8 / (0.1438 * 8 + 1.8874), None, discipline=eight),
            {"response_mean": MEAN, "batch_mean": 0.02},
        ),
    ]


def _bulks() -> list[Twin]:
    met = {"wait_mean": MEAN, "prob_wait": 0.02}
    return [
        exact("M^X/M/1, bulks of 4", "Burke: bulks of one size", queue("bulk 0.7 request/s size=4"), met),
        exact(
            "M^X/D/1, geometric bulks",
            "Burke: bulks of a geometric size, constant services",
            queue("geometric-bulk 0.7 request/s size=3", "deterministic 1 s"),
            met,
        ),
        approximation(
            "M^X/M/4, Allen-Cunneen",
            "the index of dispersion in the place of the scv of the gaps",
            queue("bulk 3.2 request/s size=4", servers=4),
            {"wait_mean": 0.10},
        ),
    ]


def jackson(network: QueueNetwork) -> Amounts:
    """The product form, without the order above it."""
    return {each.metric: each.amount for each in solve_queue_network(network).estimates if each.order == 1}


def one_network(network: QueueNetwork, customers: int, seed: int, replication: int) -> Amounts:
    found = measure_network(network, run_network(network, customers, seed=seed, replication=replication))
    return {metric: amount for metric, amount in found.items() if not metric.endswith("p99")}


def _networks() -> list[Twin]:
    stations = (
        Station(name="a", service="1 s", rate="0.4 request/s", to="b:0.5 c:0.3"),
        Station(name="b", service="600 ms", rate="0.1 request/s", to="a:0.2 c:0.3"),
        Station(name="c", service="1.5 s", servers=2, to="a:0.3"),
    )
    feedback = QueueNetwork(stations=Stations(stations=stations))
    return [
        Twin(
            title="Jackson, three stations",
            claim="Jackson: each station of an open network with feedback is M/M/c at its own rate",
            suite="queueing",
            scenario=feedback,
            margins={"response_mean": 0.08, "wait_mean_station_a": 0.15},
            formula=jackson,
            witness=one_network,
            customers=5_000,
            pace=1.2e4,
        )
    ]


def _two_moment_formulas() -> list[Twin]:
    smooth = queue(renewal("gamma 1.25 s scv=0.5"), "gamma 1 s scv=2")
    bursty = queue(renewal("hyperexponential 1.25 s scv=4"), "erlang 1 s stages=4")
    several = queue(renewal("hyperexponential 0.3125 s scv=4"), "hyperexponential 1 s scv=4", servers=4)
    spread = queue(3.2, "hyperexponential 1 s scv=4", servers=4)
    ten = {"wait_mean": 0.1}
    forms: list[tuple[str, Callable[[Queue], Amounts]]] = [
        ("Kingman", kingman),
        ("KLB", klb),
        ("Marchal", marchal),
    ]
    shapes = [("ca2 .5 cs2 2", smooth), ("ca2 4 cs2 .25", bursty)]
    twins = [
        approximation(f"{name}, {shape}", f"{name}: two moments, rho 0.8", scenario, ten, formula=form)
        for shape, scenario in shapes
        for name, form in forms
    ]
    twins += [
        bound(
            f"Kingman bound, {shape}",
            "Kingman 1962: no GI/G/1 waits longer on average",
            scenario,
            {"wait_mean": MEAN},
            kingman_bound,
        )
        for shape, scenario in shapes
    ]
    return [
        *twins,
        approximation(
            "p99 as (1+scv)/2, rho 0.5",
            "the shortcut for the p99 wait of M/H2/1",
            queue(0.5, "hyperexponential 1 s scv=4"),
            {"wait_p99": 0.1},
            formula=scaled_p99,
        ),
        approximation("Kimura, M/H2/4, rho 0.8", "M/G/c by interpolation", spread, ten, formula=kimura),
        approximation("Allen-Cunneen, M/H2/4", "M/G/c, rho 0.8", spread, ten, formula=allen_cunneen),
        approximation("Allen-Cunneen, H2/H2/4", "G/G/c, rho 0.8", several, ten, formula=allen_cunneen),
        approximation("Whitt, H2/H2/4", "G/G/c, rho 0.8", several, ten, formula=whitt),
    ]


TWINS = (
    *_first_come(),
    *_finite(),
    *_disciplines(),
    *_routed(),
    *_closed_and_batched(),
    *_bulks(),
    *_networks(),
    *_two_moment_formulas(),
)
