"""Engines of several pipeline stages: against a naive loop over batches, an engine of one stage, and closed forms."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import pytest
import simpy

import secondorder as so
from secondorder.errors import DoesNotFit
from secondorder.scenarios.pipeline_stages import StageCoefficients
from secondorder.simulate.deployment import run as run_deployment
from secondorder.simulate.serving import draw, record, run
from secondorder.simulate.serving.asks import asks
from secondorder.simulate.serving.engine import arrive
from secondorder.simulate.serving.measures import measure
from secondorder.simulate.serving.pipeline import PipelineEngine, lanes_of
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.single_run import lane_for
from secondorder.workloads.requests import Requests

WHOLE = so.Affine(
    per_step=7e-3, per_prefill_token=11e-6, per_decode=130e-6, per_context_token=17e-9, per_prefill_pair=3e-9
)


def service(**fields) -> so.Serving:
    given = {
        "arrivals": "poisson 20 request/s", "lengths": "input=geometric 200 output=geometric 20", "step_time": WHOLE,
        "pipeline_parallel_size": 4, "pipeline_link": "20 GB/s latency=30 us", "num_gpu_blocks": 100_000,
        "enable_prefix_caching": False, "max_model_len": 10_000,
    } | fields  # fmt: skip
    return so.Serving(model="llama_3_1_8b", accelerator="h100_sxm", **given)


# A naive loop


@dataclass(eq=False)
class Job:
    index: int
    prompt: int
    output: int
    computed: int = 0
    emitted: int = 0


def naive(scenario: so.Serving, requests: Requests, *, in_turn: bool = True) -> tuple[list[int], list[int]]:
    """First token and end of each request in ps; a cache without limit, no prefixes. ``in_turn``: one batch a stage."""
    stages, slots = scenario.pipeline_parallel_size, scenario.settings.max_num_seqs
    jobs = [Job(k, prompt, output) for k, (_, prompt, output) in enumerate(requests)]
    coming = deque(zip(np.rint(np.asarray(requests.arrival) * 1e12).astype(int).tolist(), jobs, strict=True))
    waiting: list[Job] = []
    groups: list[list[Job]] = [[] for _ in range(stages)]
    free, first, last = [0] * stages, [-1] * len(jobs), [-1] * len(jobs)
    under_way: deque[tuple[int, int, list[Job]]] = deque()
    now = 0
    while coming or waiting or under_way or any(groups):
        while coming and coming[0][0] <= now:
            waiting.append(coming.popleft()[1])
        group = next_group(groups, [place for place, _, _ in under_way], waiting, slots)
        if group is not None and len(under_way) < stages:
            load, ending = fill(scenario, groups, group, waiting, slots)
            under_way.append((group, through(scenario, load, free if in_turn else [0] * stages, now), ending))
        elif under_way:
            place, now, ending = under_way.popleft()
            for job in ending:
                first[job.index] = now if first[job.index] < 0 else first[job.index]
                if job.emitted == job.output:
                    last[job.index] = now
                    groups[place].remove(job)
        else:
            now = coming[0][0]
    return first, last


def next_group(groups: list[list[Job]], away: list[int], waiting: list[Job], slots: int) -> int | None:
    home = [place for place in range(len(groups)) if place not in away]
    busy = [place for place in home if groups[place]]
    if busy:
        return busy[0]
    return home[0] if home and waiting and sum(map(len, groups)) < slots else None


def fill(scenario, groups, group, waiting, slots) -> tuple[list[int], list[Job]]:
    """What the next batch of a group computes, and who has a token at its end."""
    left, load, ending = scenario.settings.max_num_batched_tokens, [0] * 6, []
    members = groups[group]
    place = 0
    while left > 0:
        if place == len(members):
            if not waiting or sum(map(len, groups)) >= slots:
                break
            members.append(waiting.pop(0))
        job = members[place]
        place += 1
        tokens = min(job.prompt + job.emitted - job.computed, left)
        before, after = job.computed, job.computed + tokens
        ends = after == job.prompt + job.emitted
        if job.emitted:
            load[3] += 1
            load[4] += after
        else:
            load[0] += tokens
            load[1] += sum(range(before + 1, after + 1))
            load[2] += after
        load[5] += ends
        left -= tokens
        job.computed = after
        if ends:
            job.emitted += 1
            ending.append(job)
    return load, ending


def through(scenario: so.Serving, load: list[int], free: list[int], now: int) -> int:
    """The stages one after the other, each a quarter of the layers; 2 bytes for each of 4,096 channels to the next."""
    whole = scenario.step_time.seconds(scenario.placement)(*load)
    stage, hop = round(whole / len(free) * 1e12), round((30e-6 + (load[0] + load[3]) * 8192 / 20e9) * 1e12)
    for number in range(len(free)):
        begin = max(now, free[number])
        free[number] = begin + stage
        now = begin + stage + hop
    return now - hop


@pytest.mark.parametrize(
    ("seed", "fields"),
    [
        (1, {}),
        (2, {"max_num_batched_tokens": 64}),
        (3, {"max_num_seqs": 5, "max_num_batched_tokens": 300}),
        (4, {"pipeline_parallel_size": 2, "arrivals": "poisson 100 request/s"}),
        (5, {"arrivals": "poisson 2000 request/s", "max_num_seqs": 40, "max_num_batched_tokens": 512}),
    ],
)
def test_every_time_is_that_of_a_naive_loop(seed, fields):
    scenario = service(**fields)
    requests = draw(scenario, 150, seed)
    _, found = record(scenario, requests)
    assert (list(found.first_token), list(found.finish)) == naive(scenario, requests)


def test_a_loop_that_lets_a_batch_pass_a_busy_stage_is_found_out():
    scenario = service(arrivals="poisson 2000 request/s", max_num_batched_tokens=512)
    requests = draw(scenario, 150, 5)
    _, found = record(scenario, requests)
    assert list(found.finish) != naive(scenario, requests, in_turn=False)[1]


# One stage


@pytest.mark.parametrize(
    "fields", [{}, {"num_gpu_blocks": 90, "enable_prefix_caching": True, "max_num_batched_tokens": 96}]
)
def test_an_engine_of_one_stage_is_the_engine_of_today(fields):
    """To the picosecond, preemptions among them."""
    scenario = service(pipeline_parallel_size=1, async_scheduling=False, arrivals="poisson 60 request/s", **fields)
    requests = draw(scenario, 200, 3)
    if "num_gpu_blocks" in fields:
        requests = replace(requests, input_tokens=np.minimum(requests.input_tokens, 600))
    _, today = record(scenario, requests)
    env, found = simpy.Environment(initial_time=0), Recorder(len(requests))
    stages = StageCoefficients(whole=scenario.step_seconds, stages=1, share=1.0, host=0.0, hop=0.0, hop_per_token=0.0)
    engine = PipelineEngine(env, lanes_of([lane_for(scenario)]), stages, found)
    env.process(arrive(env, asks(scenario, requests), engine.submit))
    env.run()
    for column in ("scheduled", "first_token", "finish", "preemptions", "cached"):
        assert list(getattr(found, column)) == list(getattr(today, column)), column
    assert found.steps == today.steps
    assert sum(found.preemptions) > 0 or not fields


# Limits and closed forms


def output_rate(scenario: so.Serving, count: int) -> float:
    """Requests per second of the middle half of a backlog."""
    requests = replace(draw(scenario, count, 1), arrival=np.zeros(count))
    finish = np.sort(run(scenario, requests).requests["finish"].to_numpy())
    return count / 2 / (finish[3 * count // 4] - finish[count // 4])


@pytest.mark.parametrize("stages", [2, 4])
def test_balanced_stages_without_hops_do_n_times_as_much_with_n_times_the_slots(stages):
    """A step of ``a + b D`` with ``D`` sequences of each of ``n`` batches: ``n D`` tokens in its time, not ``D``."""
    one = service(
        pipeline_parallel_size=1, async_scheduling=False, lengths="input=1 output=50", max_num_seqs=8,
        step_time="affine 8e-3 per_prefill_token=1e-4 per_decode=1e-4", max_num_batched_tokens=8,
    )  # fmt: skip
    many = replace(
        one, pipeline_parallel_size=stages, pipeline_link="1e9 GB/s", max_num_seqs=8 * stages, async_scheduling=None
    )
    assert output_rate(many, 512) == pytest.approx(stages * output_rate(one, 512), rel=1e-3)
    same = replace(many, max_num_seqs=8)  # 8/n each: a step of a + b 8/n is all that they gain
    factor = (8e-3 + 8e-4) / (8e-3 + 8e-4 / stages)
    spread = replace(same, max_num_batched_tokens=8 // stages)
    assert output_rate(spread, 512) == pytest.approx(factor * output_rate(one, 512), rel=1e-3)


def test_a_request_alone_takes_what_the_closed_form_says():
    scenario = service(lengths="input=300 output=1", arrivals="deterministic 1 request/s")
    found = run(scenario, draw(scenario, 3, 1)).requests["ttft"].to_numpy()
    alone = next(each for each in so.solve(scenario)["ttft_mean"] if each.order == 0)
    assert found == pytest.approx(alone.amount, rel=1e-7)
    whole = WHOLE.seconds(scenario.placement)(300, 300 * 301 / 2, 300, 0, 0, 1)
    assert alone.amount == pytest.approx(whole + 3 * (30e-6 + 300 * 8192 / 20e9), rel=1e-7)


def test_even_batches_saturate_where_the_closed_form_says_and_uneven_ones_say_so():
    even = service(
        lengths="input=16 output=geometric 64", max_num_seqs=64,
        step_time="affine 7e-3 per_prefill_token=11e-6 per_decode=5e-6",
    )  # fmt: skip
    limit = so.solve(even).best("saturation_rate")
    assert limit.in_domain
    count = 1_200  # answers of a geometric law: 3 standard errors of their mean over the half that is measured
    assert output_rate(even, count) == pytest.approx(limit.amount, rel=0.02 + 3 / np.sqrt(count / 2))
    uneven = so.solve(service(lengths="input=3000 output=geometric 64")).best("saturation_rate")
    assert "a prompt makes a batch" in uneven.outside
    crowd = service(lengths="input=16 output=64", step_time="affine 1e-3 per_prefill_token=0 per_decode=1e-4")
    assert "one batch may take all sequences" in so.solve(crowd).best("saturation_rate").outside


def test_means_at_light_load_agree_with_simulations():
    scenario = service(lengths="input=16 output=geometric 64", arrivals="poisson 1 request/s")
    solved = so.solve(scenario)
    runs = [measure(scenario, run(scenario, draw(scenario, 300, 1, k)), 40, 280) for k in range(3)]
    for metric in ("tpot_mean", "e2el_mean", "running_mean"):
        values = [one[metric] for one in runs]
        margin = 4 * np.std(values, ddof=1) / np.sqrt(3) + 0.02 * np.mean(values)
        assert solved.best(metric).in_domain
        assert solved.best(metric).amount == pytest.approx(np.mean(values), abs=margin), metric
    assert not so.solve(replace(scenario, lengths="input=2000 output=64")).best("tpot_mean").in_domain


def test_each_stage_holds_a_share_of_weights_and_cache():
    one = service(num_gpu_blocks=None, pipeline_parallel_size=1)
    two = replace(one, pipeline_parallel_size=2)
    assert two.accelerators == 2
    assert two.kv_blocks > 2 * one.kv_blocks  # twice the memory, less the same weights
    with pytest.raises(DoesNotFit):
        replace(one, model=so.models.llama_3_1_70b)
    assert replace(one, model=so.models.llama_3_1_70b, pipeline_parallel_size=4).kv_blocks > 1_000


# Whatever happens


@pytest.mark.parametrize("seed", range(3))
def test_replicas_of_stages_lose_no_request_and_give_back_all_blocks(seed):
    scenario = service(
        num_gpu_blocks=80, enable_prefix_caching=bool(seed % 2), lengths="input=geometric 100 output=geometric 40",
        arrivals="poisson 100 request/s", max_model_len=1_000, scheduling_policy="fcfs",
    )  # fmt: skip
    requests = draw(scenario, 200, seed)
    requests = replace(requests, input_tokens=np.minimum(requests.input_tokens, 600))
    alone = run(scenario, requests).requests
    assert (alone["finish"] > 0).all()
    assert alone["preemptions"].sum() > 0
    fleet = so.Deployment(
        serving=scenario, replicas=2, timeout="1 s", retries=1, faults="kill 0 at=0.5 s restart=200 ms",
        after_failure=("lost", "retried", "moved")[seed], withdraw=bool(seed),
    )  # fmt: skip
    found = run_deployment(fleet, requests, seed=seed)
    assert found.blocks_held == 0
    assert found.requests["fate"].notna().all()
    assert found.recomputed >= 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pipeline_parallel_size": 33}, "at most the 32 layers"),
        ({"pipeline_parallel_size": 0}, "pipeline_parallel_size"),
        ({"async_scheduling": True}, "leave out async_scheduling"),
        ({"enable_prefix_caching": True, "cache_tiers": "host 200 GB 25 GB/s"}, "leave out cache_tiers"),
        ({"pipeline_link": "20 GB"}, "pipeline_link"),
        ({"pipeline_link": None, "accelerator": "t4"}, 'a link such as "50 GB/s latency=10 us"'),
    ],
)
def test_what_stages_do_not_go_with_is_refused_in_one_line(fields, said):
    with pytest.raises(so.InputError) as error:
        replace(service(), **fields)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_other_scenarios_refuse_stages():
    with pytest.raises(so.InputError, match=r"pipeline_parallel_size: got 4 in a ClosedLoop"):
        so.solve(so.ClosedLoop(serving=service(), max_concurrency=4))
    with pytest.raises(so.InputError, match=r"pipeline_parallel_size: got 4 in a partition of latencies"):
        so.partition(service(), requests=100)
    with pytest.raises(so.InputError, match="kernel for"):
        so.simulate(service(), witness="kernel", requests=100, replications=2)
