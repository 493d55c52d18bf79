"""Lines of text in fields: Python takes those of a plan, and a family finds its fields by their types."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated

import pytest

import secondorder as so
from secondorder import families
from secondorder.families import Family, Kind, family_of, members_of
from secondorder.plans.fields import shown_fields
from secondorder.plans.tables import Tables
from secondorder.quantities import Checked, Duration
from secondorder.scenarios.training import CheckpointPolicy
from secondorder.spelling import read


def test_a_service_spelt_in_lines_is_the_one_made_of_values() -> None:
    assert so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="gamma 8 request/s burstiness=0.5",
        lengths="input=64 output=geometric 9",
        step_time="roofline 0.5 host_overhead=2 ms",
    ) == so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Gamma("8 request/s", burstiness=0.5),
        lengths=so.Lengths(input=64, output=so.Geometric(9)),
        step_time=so.Roofline(compute_efficiency=0.5, host_overhead="2 ms"),
    )


def test_a_run_and_a_collective_spelt_in_lines_are_those_made_of_values() -> None:
    spelt = so.Training(
        failures="exponential 3 h", checkpoint="async 20 min pause=2 s drain=3 min", recovery="300 s detection=30 s"
    )
    assert spelt == so.Training(
        failures=so.PlatformRenewal(gap="exponential 3 h"),
        checkpoint=so.AsyncCheckpoint(interval="20 min", pause="2 s", drain="3 min"),
        recovery=so.Recovery(restart="300 s", detection="30 s"),
    )
    link = so.Link(bandwidth="50 GB/s", latency="5 us")
    assert so.Collective(ranks=8, size="1 GB", link="50 GB/s latency=5 us").link == link
    assert replace(spelt, storage="tectonic_llama_3").storage == so.storages.tectonic_llama_3


def test_a_queue_spelt_in_lines_is_the_one_made_of_values() -> None:
    assert so.Queue(
        arrivals="renewal erlang 125 ms stages=4", service="50 ms", servers=4, routing="jsq d=3"
    ) == so.Queue(
        arrivals=so.Renewal(gap="erlang 125 ms stages=4"), service="50 ms", servers=4, routing=so.JoinShortest(d=3)
    )
    impatient = so.Queue(arrivals="poisson 1 request/s", service="50 ms", patience="5 s retries=3")
    assert impatient.patience == so.Patience(limit="5 s", retries=3)
    assert replace(impatient, patience=None, discipline="ps").discipline == so.ProcessorSharing()
    ranked = replace(impatient, patience=None, discipline="priorities 0.2,0.8")
    assert ranked.discipline == so.Priorities(shares=[0.2, 0.8])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "lama_3_1_8b"}, "model: got 'lama_3_1_8b', expected one of"),
        ({"model": "resnet50"}, "model: got 'resnet50', which is no language model"),
        ({"arrivals": "closed 20 exponential 10 s"}, "arrivals: got 'closed', expected poisson"),
        ({"lengths": "azure"}, "lengths: got 'azure', expected a name"),
        (
            {"step_time": "rofline"},
            "step_time: got 'rofline', expected roofline, measured-roofline, affine, table; did you mean roofline",
        ),
        ({"accelerator": 3}, "accelerator: got 3, expected a name such as h100_sxm"),
        ({"name": "\x1b[31m"}, r"name: got '\x1b[31m', expected text without control characters"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_by_its_field(changes: dict[str, object], said: str) -> None:
    line = {"model": "llama_3_1_8b", "accelerator": "h100_sxm", "arrivals": "poisson 8 request/s"}
    with pytest.raises(so.InputError) as refused:
        so.Serving(**{**line, "lengths": "azure_conv_2023", **changes})
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    "hint",
    [
        CheckpointPolicy,
        CheckpointPolicy | None,
        CheckpointPolicy | str,
        so.Checkpoint | so.AsyncCheckpoint,
        Annotated[CheckpointPolicy, "a note"] | None,
        so.VerifiedCheckpoint,
    ],
    ids=str,
)
def test_a_family_finds_its_field_however_the_union_is_written(hint: object) -> None:
    family = family_of(members_of(hint))
    assert family is not None
    assert family.name == "checkpoint"


def test_a_field_takes_only_the_kinds_that_its_types_name() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Plain(Checked):
        checkpoint: so.Checkpoint | so.AsyncCheckpoint

    assert Plain(checkpoint="blocking 1 h").checkpoint == so.Checkpoint(interval="1 h")
    with pytest.raises(so.InputError, match="checkpoint: got 'verified 1 h"):
        Plain(checkpoint="verified 1 h verify=5 s silent_mtbf=9 h")
    with pytest.raises(so.InputError, match=r"kind: got 'verified', expected blocking, async"):
        Tables().build(Plain, {"checkpoint": {"kind": "verified", "interval": "1 h"}})


# A family that is made up here


@dataclass(frozen=True)
class Eager(Checked):
    """Goes at once."""


@dataclass(frozen=True, kw_only=True)
class Lazy(Checked):
    """Goes after ``pause``."""

    pause: Duration = "1 s"


STARTS = Family(
    name="start",
    example="lazy 2 s",
    read=lambda text, what: read(text, {"eager": Eager, "lazy": Lazy}, what=what, example="lazy 2 s"),
    expected='"lazy 2 s", or a table with its kind',
    kinds=(Kind(word="eager", type=Eager, example="eager"), Kind(word="lazy", type=Lazy, example="lazy 2 s")),
)


@dataclass(frozen=True, kw_only=True)
class Runner(Checked):
    """One that starts.

    - ``start``: how it starts ("lazy 2 s").
    """

    start: Eager | Lazy = field(default_factory=Eager)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = (*families.families(), STARTS)
    monkeypatch.setattr(families, "families", lambda: known)
    family_of.cache_clear()
    yield
    family_of.cache_clear()


@pytest.mark.usefixtures("starts")
def test_a_kind_made_up_here_is_read_shown_and_written() -> None:
    from secondorder.plans.write import _table

    late = Runner(start=Lazy(pause="2 s"))
    assert Runner(start="lazy 2 s") == late
    assert Tables().build(Runner, {"start": "lazy 2 s"}) == late
    assert Tables().build(Runner, {"start": {"kind": "lazy", "pause": "2 s"}}) == late
    assert _table(late) == {"start": "lazy 2 s"}
    assert shown_fields(Runner)["start"].default == "eager"
    with pytest.raises(so.InputError, match="did you mean lazy"):
        Runner(start="lzy")
