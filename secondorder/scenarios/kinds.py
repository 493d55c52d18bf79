"""The families of types that fields take, each named once: its kinds, their words, and a line of each as an example.

A new kind is a dataclass and one line here. Python, plans, flags, help and schema then read and write it.

>>> import secondorder as so
>>> so.Queue(arrivals="poisson 8 request/s", service="10 ms", servers=3, routing="jsq d=3").routing
JoinShortest(d=3)
"""

from collections.abc import Mapping
from functools import partial

from secondorder import spelling
from secondorder.errors import InputError, naming
from secondorder.families import Family, Kind
from secondorder.fleets.accelerators import Accelerator, accelerators
from secondorder.fleets.clusters import (
    Cluster,
    Fabric,
    Link,
    Node,
    Storage,
    clusters,
    fabrics,
    nodes,
    storages,
)
from secondorder.fleets.failures import (
    Bursts,
    FailureRates,
    NewNodes,
    PlatformRenewal,
    ReplicatedPairs,
    StationaryNodes,
    failure_rates,
    named_failures,
)
from secondorder.fleets.regions import Facility, Region, facilities, regions
from secondorder.laws import LAWS, EmpiricalLaw, time_law
from secondorder.scenarios.allocation import Allocation
from secondorder.scenarios.autoscaler import Autoscaler
from secondorder.scenarios.cache_tiers import CacheTiers, read_tiers
from secondorder.scenarios.clients import Sessions, Users
from secondorder.scenarios.compression import METHODS, read_method
from secondorder.scenarios.elastic import Elastic
from secondorder.scenarios.measured_roofline import MeasuredRoofline
from secondorder.scenarios.pool import Pool
from secondorder.scenarios.profiles import step_time_of
from secondorder.scenarios.queue import (
    BatchService,
    Bulk,
    Closed,
    FirstCome,
    ForkJoin,
    GeometricBulk,
    JoinShortest,
    Patience,
    Priorities,
    ProcessorSharing,
    Random,
    Renewal,
    Shared,
    read_queue_arrivals,
)
from secondorder.scenarios.queue_network import Stations
from secondorder.scenarios.replica_faults import Faults, Kill, RandomFailures, RollingRestart, Slow, ZoneFailure
from secondorder.scenarios.router import (
    LeastOutstanding,
    LeastTokens,
    PowerOfChoices,
    PrefixAware,
    RandomReplica,
    RoundRobin,
    SessionAffinity,
)
from secondorder.scenarios.steptime import Affine, Roofline, StepTime, Table
from secondorder.scenarios.topology import SHAPES, read_shape
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Recovery,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.scenarios.variants import Variants
from secondorder.workloads.arrivals import (
    Deterministic,
    Gamma,
    MarkovModulated,
    Poisson,
    TraceArrivals,
    read_arrivals,
)
from secondorder.workloads.lengths import MARGINALS, Empirical, Lengths, lengths, read_lengths, read_marginal
from secondorder.workloads.models import models
from secondorder.workloads.network import Network
from secondorder.workloads.prefixes import SharedPrefixes
from secondorder.workloads.priorities import PriorityShares, read_priorities
from secondorder.workloads.traces import Trace
from secondorder.workloads.transformer import Transformer
from secondorder.zoo import Zoo

# Families by how their texts are read


def _by_word(name: str, *kinds: Kind, types: tuple[object, ...] = (), default: str = "") -> Family:
    """Texts with a word and fields: ``jsq d=2``."""
    example = kinds[0].example
    words = {kind.word: kind.type for kind in kinds}

    def read(text: str, what: str) -> object:
        return spelling.read(text, words, what=what, example=example)

    expected = f'"{example}", or a table with its kind'
    return Family(name=name, example=example, read=read, expected=expected, kinds=kinds, types=types, default=default)


def _without_word(name: str, type: type, example: str) -> Family:
    """Texts that are the fields alone: ``50 GB/s latency=5 us``."""

    def read(text: str, what: str) -> object:
        return spelling.read(f"{name} {text}", {name: type}, what=what, example=example)

    return Family(name=name, example=example, read=read, expected=f'"{example}", or a table', types=(type,))


def _several(name: str, type: type, field: str, example: str) -> Family:
    """Texts that are lines of several things with semicolons between them."""

    def read(text: str, what: str) -> object:
        with naming(what):
            return type(**{field: tuple(part.strip() for part in text.split(";"))})

    return Family(name=name, example=example, read=read, expected=f'"{example}", or a table', types=(type,))


def _named(name: str, type: type, zoo: Zoo[object], example: str) -> Family:
    """Texts that are names of a zoo."""
    expected = f"a name such as {example}, or a table"
    read = partial(_entry, zoo)
    return Family(name=name, example=example, read=read, expected=expected, types=(type,), zoo=zoo, metavar="NAME")


def _entry(zoo: Zoo[object], text: str, what: str) -> object:
    if text not in zoo:
        raise zoo.unknown(text, what)
    return zoo[text]


def _language_model(text: str, what: str) -> object:
    found = _entry(models, text, what)
    if not isinstance(found, Transformer):
        raise InputError(what, given=f"{text!r}, which is no language model", expected="a transformer")
    return found


def _discipline(text: str, what: str) -> object:
    """``priorities 0.2,0.8`` has numbers; the others are words with their fields."""
    word, _, shares = text.strip().partition(" ")
    if word == "priorities":
        return Priorities(shares=_shares(shares, what))
    return spelling.read(text, _words(_DISCIPLINES), what=what, example="fcfs")


def _step_time(text: str, what: str) -> object:
    """A step time in one line, or the profile that holds it."""
    line = step_time_of(text.strip()) if text.strip().endswith(".toml") else text
    return spelling.read(line, _words(_STEP_TIMES), what=what, example="roofline memory_efficiency=0.9")


def _shares(text: str, what: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.replace(",", " ").split())
    except ValueError:
        raise InputError(what, given=repr(text), expected="numbers such as 0.2,0.8") from None


def _words(kinds: tuple[Kind, ...]) -> dict[str, type]:
    return {kind.word: kind.type for kind in kinds}


def _known(kinds: Mapping[str, type], **examples: str) -> tuple[Kind, ...]:
    return tuple(Kind(word=word, type=type, example=examples.get(word, "")) for word, type in kinds.items())


# What each family has

_ARRIVALS = (
    Kind(word="poisson", type=Poisson, example="poisson 8 request/s"),
    Kind(word="gamma", type=Gamma, example="gamma 8 request/s burstiness=0.5"),
    Kind(word="deterministic", type=Deterministic, example="deterministic 8 request/s"),
    Kind(
        word="markov",
        type=MarkovModulated,
        example="markov 2 request/s rate_2=20 request/s sojourn_1=60 s sojourn_2=12 s",
    ),
)
_DISCIPLINES = (
    Kind(word="fcfs", type=FirstCome, example="fcfs"),
    Kind(word="ps", type=ProcessorSharing, example="ps"),
    Kind(word="priorities", type=Priorities, example="priorities 0.2,0.8"),
    Kind(word="batch", type=BatchService, example="batch 5 ms per_item=1 ms most=32"),
)

_STEP_TIMES = (
    Kind(word="roofline", type=Roofline, example="roofline memory_efficiency=0.9"),
    Kind(word="measured-roofline", type=MeasuredRoofline, example="measured-roofline engine=sglang"),
    Kind(word="affine", type=Affine, example="affine 5e-3 per_prefill_token=1e-5 per_decode=1e-4"),
    Kind(word="table", type=Table),
)

FAMILIES: tuple[Family, ...] = (
    # what it runs on
    Family(
        name="language model",
        example="llama_3_1_8b",
        read=_language_model,
        expected="a name such as llama_3_1_8b, a config.json, or a table",
        types=(Transformer,),
        zoo=models,
        metavar="NAME",
    ),
    Family(
        name="network",
        example="resnet50",
        read=partial(_entry, models),
        expected="a name such as llama_3_1_8b, a config.json, or a table",
        types=(Transformer, Network),
        zoo=models,
        metavar="NAME",
    ),
    _named("accelerator", Accelerator, accelerators, "h100_sxm"),
    _named("cluster", Cluster, clusters, "llama_3_16k"),
    _named("node", Node, nodes, "dgx_h100"),
    _named("fabric", Fabric, fabrics, "infiniband_ndr"),
    _named("storage", Storage, storages, "tectonic_llama_3"),
    _named("failure rates", FailureRates, failure_rates, "llama_3"),
    _named("region", Region, regions, "poland"),
    _named("facility", Facility, facilities, "microsoft"),
    _without_word("link", Link, "50 GB/s latency=5 us"),
    _without_word("pool", Pool, "8 max_num_seqs=64"),
    # laws
    Family(
        name="law of a time",
        example="exponential 5 s",
        read=time_law,
        expected='a time such as "5 s", a law such as "exponential 5 s", or a table with its kind',
        kinds=_known(
            LAWS,
            exponential="exponential 5 s",
            deterministic="deterministic 5 s",
            erlang="erlang 5 s stages=4",
            hyperexponential="hyperexponential 5 s scv=4",
            lognormal="lognormal 5 s scv=4",
            pareto="pareto 5 s shape=3",
            gamma="gamma 5 s scv=0.5",
            weibull="weibull 5 s shape=0.7",
            normal="normal 5 s scv=0.01",
        ),
        types=(EmpiricalLaw,),
        metavar="LAW",
        help="a law in one line",
    ),
    Family(
        name="length",
        example="geometric 256",
        read=read_marginal,
        expected='an integer, "geometric 256", or a table with its kind',
        kinds=_known(
            MARGINALS,
            fixed="fixed 256",
            uniform="uniform 1 high=255",
            geometric="geometric 256",
            lognormal="lognormal 256 cv=1.2",
        ),
        metavar="LAW",
        help="a law in one line",
    ),
    Family(
        name="lengths",
        example="azure_conv_2023",
        read=read_lengths,
        expected="a name such as azure_conv_2023, a table of input and output, or the file of a trace",
        types=(Lengths, Empirical),
        zoo=lengths,
        metavar="LAW",
        help="a law in one line",
    ),
    Family(
        name="arrivals",
        example="poisson 8 request/s",
        read=read_arrivals,
        expected='"poisson 8 request/s", a table with its kind, or the file of a trace',
        kinds=(*_ARRIVALS, Kind(word="trace", type=Trace)),
        types=(TraceArrivals,),
        metavar="LAW",
        help="a law in one line",
    ),
    Family(
        name="arrivals of a queue",
        example="poisson 8 request/s",
        read=read_queue_arrivals,
        expected='"poisson 8 request/s", or a table with its kind',
        kinds=(
            *_ARRIVALS,
            Kind(word="renewal", type=Renewal, example="renewal erlang 125 ms stages=4"),
            Kind(word="bulk", type=Bulk, example="bulk 8 request/s size=4"),
            Kind(word="geometric-bulk", type=GeometricBulk, example="geometric-bulk 8 request/s size=4"),
            Kind(word="closed", type=Closed, example="closed 20 exponential 10 s"),
        ),
        types=(TraceArrivals,),
        metavar="LAW",
        help="a law in one line",
    ),
    # rules of a queue
    Family(
        name="discipline",
        example="ps",
        read=_discipline,
        expected='"ps", "priorities 0.2,0.8", or a table with its kind',
        kinds=_DISCIPLINES,
    ),
    _by_word(
        "routing",
        Kind(word="jsq", type=JoinShortest, example="jsq d=2"),
        Kind(word="shared", type=Shared, example="shared"),
        Kind(word="random", type=Random, example="random"),
        Kind(word="fork-join", type=ForkJoin, example="fork-join"),
    ),
    _without_word("patience", Patience, "5 s retries=3"),
    _without_word("prefixes", SharedPrefixes, "100 tokens=1024 share=0.8"),
    _several("stations", Stations, "stations", "web service=50 ms rate=8 request/s to=app:0.5; app service=80 ms"),
    Family(
        name="shares of priorities",
        example="0=0.2 1=0.8",
        read=read_priorities,
        expected='"0=0.2 1=0.8"',
        types=(PriorityShares,),
    ),
    Family(
        name="cache tiers",
        example="host 200 GB 25 GB/s, disk 2 TB 5 GB/s",
        read=read_tiers,
        expected='"host 200 GB 25 GB/s, disk 2 TB 5 GB/s"',
        types=(CacheTiers,),
    ),
    # several replicas
    _by_word(
        "router",
        Kind(word="least-outstanding", type=LeastOutstanding, example="least-outstanding"),
        Kind(word="random", type=RandomReplica, example="random"),
        Kind(word="round-robin", type=RoundRobin, example="round-robin"),
        Kind(word="power-of-d", type=PowerOfChoices, example="power-of-d 2"),
        Kind(word="least-tokens", type=LeastTokens, example="least-tokens"),
        Kind(word="prefix-aware", type=PrefixAware, example="prefix-aware 50"),
        Kind(word="session", type=SessionAffinity, example="session 32"),
    ),
    _by_word(
        "fault",
        Kind(word="kill", type=Kill, example="kill 0 at=60 s restart=2 min"),
        Kind(word="random", type=RandomFailures, example="random 6 h restart=3 min"),
        Kind(word="zone", type=ZoneFailure, example="zone 0-2 at=60 s restart=5 min"),
        Kind(word="slow", type=Slow, example="slow 0 at=60 s lasts=5 min factor=3"),
        Kind(word="rolling", type=RollingRestart, example="rolling 10 min restart=2 min"),
    ),
    _without_word("autoscaler", Autoscaler, "20 most=8 start=2 min"),
    _by_word(
        "clients",
        Kind(word="users", type=Users, example="users 32 think=10 s"),
        Kind(word="sessions", type=Sessions, example="sessions 5 think=20 s"),
    ),
    _several("faults", Faults, "events", "kill 0 at=60 s restart=2 min"),
    _several("others", Variants, "variants", "2 accelerator=a100_80gb"),
    # training
    _by_word(
        "checkpoint",
        Kind(word="blocking", type=Checkpoint, example="blocking 30 min write=60 s"),
        Kind(word="async", type=AsyncCheckpoint, example="async 30 min pause=5 s drain=3 min"),
        Kind(
            word="two_level",
            type=TwoLevelCheckpoint,
            example="two_level 5 min write=2 s every=6 durable_write=60 s light_share=0.8 light_restart=30 s",
        ),
        Kind(word="verified", type=VerifiedCheckpoint, example="verified 20 min verify=5 s silent_mtbf=9 h write=60 s"),
        default="blocking",
    ),
    Family(
        name="failures",
        example="exponential 3 h",
        read=named_failures,
        expected='"exponential 3 h", or a table with its kind',
        kinds=(
            Kind(word="renewal", type=PlatformRenewal, example="renewal weibull 3 h shape=0.7"),
            Kind(word="stationary", type=StationaryNodes, example="stationary 2048 weibull 6000 h shape=0.7"),
            Kind(word="new", type=NewNodes, example="new 2048 weibull 6000 h shape=0.7"),
            Kind(word="bursts", type=Bursts, example="bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h"),
            Kind(word="pairs", type=ReplicatedPairs, example="pairs 1024 lifetime=5 year"),
        ),
        types=(FailureRates,),
        metavar="LAW",
        help="a law in one line",
    ),
    _without_word("recovery", Recovery, "300 s detection=30 s"),
    _without_word("allocation", Allocation, "24 h grace=5 min requeue=30 min"),
    _without_word("elastic", Elastic, "128 shared=0.1 regroup=10 s reload=2 min"),
    # engines, models and fabrics
    Family(
        name="step time",
        example="roofline memory_efficiency=0.9",
        read=_step_time,
        expected='"roofline memory_efficiency=0.9", a profile such as h100.toml, or a table with its kind',
        kinds=_STEP_TIMES,
        types=(StepTime,),
    ),
    Family(
        name="method",
        example="quantised int4",
        read=lambda text, _: read_method(text),
        expected='"quantised int4", or a table with its kind',
        kinds=_known(
            METHODS,
            quantised="quantised int4 group_size=128 head=bf16",
            unstructured="unstructured 0.5 sparse_kernels=true",
            structured="structured 0.7",
            distilled="distilled llama_3_2_1b",
            **{"two-of-four": "two-of-four"},
        ),
    ),
    Family(
        name="shape",
        example="fat-tree 48",
        read=lambda text, _: read_shape(text),
        expected='"fat-tree 48", or a table with its kind',
        kinds=_known(
            SHAPES,
            rails="rails 32 rails=8 spines=4",
            torus="torus 8x8x4",
            dragonfly="dragonfly 4 hosts=2 global_links=2",
            **{"fat-tree": "fat-tree 48", "leaf-spine": "leaf-spine 8 hosts=16 spines=4"},
        ),
    ),
)
"""All families. A text is read by the family that has most of a field's types."""
