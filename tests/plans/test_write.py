"""Scenarios as plan files: what is written reads back to an equal scenario."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.cli.systems import read
from secondorder.families import family_of
from secondorder.laws import EmpiricalLaw
from secondorder.plans.read import read_plan
from secondorder.scenarios.kinds import FAMILIES
from secondorder.scenarios.scenario import Scenario
from secondorder.systems.registry import SYSTEMS

SERVING = so.Serving(
    model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 8 request/s", lengths="azure_conv_2023"
)
QUEUE = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
RUN = so.Training(failures="exponential 3 h", checkpoint="blocking 30 min write=60 s", recovery="300 s")


def again(scenario: Scenario, folder: Path) -> Scenario:
    """The scenario of the plan that is written of this one."""
    text = so.write_plan(scenario, file=folder / "plan.toml")
    assert (folder / "plan.toml").read_text(encoding="utf-8") == text
    return read_plan(str(folder / "plan.toml")).one()


@pytest.mark.parametrize("word", [word for word in SYSTEMS if word != "training"])
def test_the_example_of_each_kind_reads_back_equal(word: str, tmp_path: Path) -> None:
    scenario = read(SYSTEMS[word], SYSTEMS[word].example_values)
    assert again(scenario, tmp_path) == scenario


VARIED: dict[str, Scenario] = {
    "a changed model and accelerator": replace(
        SERVING,
        model=replace(so.models.llama_3_1_8b, layers=16),
        accelerator=replace(so.accelerators.h100_sxm, memory_bandwidth="3 TB/s"),
    ),
    "experts": replace(SERVING, model=so.models.qwen3_30b_a3b, tensor_parallel_size=2),
    "objectives and laws of lengths": replace(
        SERVING,
        goodput={"ttft": "200 ms", "e2el": "9 s"},
        lengths=so.Lengths(input=so.LogNormal(512, cv=1.2), output=so.Geometric(256, maximum=1024)),
    ),
    "pipeline stages": replace(SERVING, pipeline_parallel_size=2, pipeline_link="50 GB/s latency=10 us"),
    "tiers of the cache": replace(
        SERVING, cache_tiers="host 200 GB 25 GB/s, store 2 TB 5 GB/s latency=1 ms shared=true duplex=false"
    ),
    "a measured step time": replace(
        SERVING,
        step_time=so.Table(prefill=[(1, 0.01), (4096, 0.2)], decode=[(1, 1, 0.01), (256, 1, 0.02)]),
    ),
    "an affine step time": replace(SERVING, step_time="affine 5e-3 per_prefill_token=1e-5 per_decode=1e-4"),
    "a name with every sign": replace(QUEUE, name='a "quoted" \\ name = [ü] #'),
    "renewal arrivals": replace(QUEUE, arrivals="renewal erlang 125 ms stages=4"),
    "a closed population": replace(QUEUE, arrivals="closed 20 exponential 10 s"),
    "priorities with services": so.Queue(
        arrivals="poisson 1 request/s",
        discipline=so.Priorities(shares=[0.3, 0.7], services=["exponential 100 ms", "50 ms"], preemptive=True),
    ),
    "a batch server": so.Queue(
        arrivals="poisson 1 request/s",
        discipline=so.BatchService(per_batch="5 ms", per_item="1 ms", most=8, wait_to_fill=4, timeout="1 s"),
    ),
    "a line for each server": replace(QUEUE, servers=4, routing="jsq d=3"),
    "patience with retries": replace(
        QUEUE, patience=so.Patience(limit="lognormal 5 s scv=2", retries=3, backoff="1 s")
    ),
    "an outage": replace(QUEUE, outage=so.Outage(begin="60 s", duration="10 s")),
    "spares and bursts": replace(
        RUN,
        failures="bursts 6 h mtbf_storm=10 min calm=24 h storm=1 h",
        spares=so.Spares(count=4, repair="lognormal 8 h scv=1", crews=2),
        recovery=so.Recovery(restart="300 s", detection="30 s"),
    ),
    "work instead of a duration": replace(RUN, duration=None, work="20 day", step="lognormal 4 s scv=0.01"),
    "two levels": replace(
        RUN,
        checkpoint="two_level 5 min write=2 s every=6 durable_write=60 s light_share=0.8 light_restart=30 s",
    ),
    "slow links of pairs": so.Collective(
        ranks=8, size="1 GB", link="50 GB/s latency=5 us", slow_links={(3, 4): 2.0, (0, 1): 1.5}, slow_ranks={2: 1.1}
    ),
    "measured times": so.Collective(
        ranks=8, size="10 MB", link="50 GB/s", measured={"1 MB": "120 us", "1 GB": "40 ms"}
    ),
    "a distilled student": so.Compression(
        model="llama_3_1_8b", accelerator="h100_sxm", method="distilled llama_3_2_1b", precision="bf16", input_tokens=1
    ),
    "a vision model": so.Inference(model="resnet50", accelerator="t4", launch="5 us", batch_size=4),
    "a layout with stages of their own": so.TrainingStep(
        job=so.TrainingJob(
            model="llama_3_1_8b",
            global_batch=72,
            sequence_length=4096,
            layout=so.Layout(data_parallel=18, pipeline_parallel=4, stage_layers=[7, 8, 8, 9]),
        ),
        cluster="gb200_nvl72_rack",
        slow_ranks={3: 1.2},
    ),
    "a cluster with other nodes": so.TrainingStep(
        job=so.TrainingJob(
            model="llama_3_1_8b", global_batch=512, sequence_length=8192, layout=so.Layout(data_parallel=512)
        ),
        cluster=replace(so.clusters.llama_3_16k, nodes=64),
    ),
}


@pytest.mark.parametrize("name", VARIED)
def test_what_a_scenario_may_have_reads_back_equal(name: str, tmp_path: Path) -> None:
    assert again(VARIED[name], tmp_path) == VARIED[name]


LINES = [(family.name, kind.example) for family in FAMILIES for kind in family.kinds if kind.example]


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{name}: {line.split()[0]}" for name, line in LINES])
def test_the_example_of_each_word_is_of_its_kind(name: str, line: str) -> None:
    family = next(each for each in FAMILIES if each.name == name)
    word = line.split()[0]
    (kind,) = (each for each in family.kinds if each.word == word)
    assert type(family.value(line, name)) is kind.type
    assert family_of(frozenset({kind.type})) is not None


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_example_of_each_family_reads_to_one_of_its_types(family) -> None:
    assert type(family.value(family.example, family.name)) in family.members


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rate=st.floats(1e-3, 1e3),
    mean=st.floats(1e-7, 1e-4),
    scv=st.floats(0.01, 30),
    servers=st.integers(1, 9),
    name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
)
def test_a_queue_of_any_numbers_reads_back_equal(
    rate: float, mean: float, scv: float, servers: int, name: str, tmp_path: Path
) -> None:
    scenario = so.Queue(
        arrivals=so.Gamma(f"{rate!r} request/s", burstiness=scv),
        service=so.laws.LogNormal(f"{mean!r} s", scv=scv),
        servers=servers,
        name=name,
    )
    assert again(scenario, tmp_path) == scenario


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    interval=st.floats(1, 1e7),
    write=(st.just(0.0) | st.floats(1e-9, 1e4)),
    mtbf=st.floats(60, 1e8),
    share=st.floats(0.01, 1),
)
def test_a_run_of_any_times_reads_back_equal(
    interval: float, write: float, mtbf: float, share: float, tmp_path: Path
) -> None:
    checkpoint = so.TwoLevelCheckpoint(
        interval=f"{interval!r} s",
        write=f"{write!r} s",
        every=3,
        durable_write=f"{write + 1!r} s",
        light_share=share,
        light_restart=f"{write!r} s",
    )
    scenario = so.Training(failures=f"renewal weibull {mtbf!r} s shape=0.7", checkpoint=checkpoint)
    assert again(scenario, tmp_path) == scenario


def test_several_scenarios_are_written_to_one_plan(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    so.write_plan(replace(QUEUE, name="slow"), RUN, replace(QUEUE, name="fast", servers=2), file=plan)
    found = so.read_plan(str(plan))
    assert [each.scenario.name for each in found.planned] == ["slow", "fast", "training"]
    with pytest.raises(so.InputError, match="two scenarios 'queue'"):
        so.write_plan(QUEUE, QUEUE)


def test_a_trace_is_written_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    rows = "".join(f"2023-11-16 18:17:{second:02},512,16\n" for second in range(11))
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    trace = so.read_trace(file)
    replayed = replace(SERVING, arrivals=trace, lengths=None)
    assert again(replayed, tmp_path) == replayed
    faster = replace(replayed, arrivals=trace.at("4 request/s"))
    assert again(faster, tmp_path) == faster
    with pytest.raises(so.InputError, match=r"arrivals\.trace: got a trace in memory, or a part of one"):
        so.write_plan(replace(replayed, arrivals=trace.head(3)))


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        (replace(QUEUE, service=EmpiricalLaw([0.1, 0.2])), "service.value: got a EmpiricalLaw in memory"),
        (replace(QUEUE, arrivals=so.TraceArrivals([0.0, 1.0, 4.0])), "arrivals.value: got a TraceArrivals in memory"),
        (replace(SERVING, lengths=so.Empirical(input=[9], output=[9])), "lengths.value: got a Empirical in memory"),
    ],
)
def test_recorded_values_in_memory_are_refused_in_one_line(scenario: Scenario, said: str) -> None:
    with pytest.raises(so.InputError) as refused:
        so.write_plan(scenario)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(so.InputError, match=r"no/plan\.toml: got No such file"):
        so.write_plan(QUEUE, file=tmp_path / "no" / "plan.toml")
