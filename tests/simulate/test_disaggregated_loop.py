"""Users of prefill and decode apart: the compiled run against one in the plainest words, and against mean values."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.serving.disaggregated_loop import balance
from secondorder.errors import InputError
from secondorder.scenarios.pool import Pool, decode_steps, prefill_steps
from secondorder.simulate import disaggregated_loop
from secondorder.simulate.disaggregated_loop import simulate_loop

SERVING = so.Serving(
    model=so.models.llama_3_1_8b,
    accelerator=so.accelerators.h100_sxm,
    arrivals=so.Poisson("1 request/s"),
    lengths=so.Lengths(input="uniform 500 high=1500", output="uniform 20 high=60"),
    step_time=so.MeasuredRoofline(),
)


def split(**changes: object) -> so.Disaggregated:
    fields = {
        "serving": SERVING,
        "prefill_replicas": 2,
        "decode_replicas": 2,
        "link": "5 GB/s latency=1 ms",
        "users": 9,
    }
    return so.Disaggregated(**{**fields, **changes})


# A run in the plainest words


def plain(scenario: so.Disaggregated, prompts: list[int], outputs: list[int]) -> dict[str, list[int]]:
    """Picosecond by picosecond: what ends next happens, prefill first, then transfers, then decode steps.

    Each sequence is told token by token; nothing is shared with the kernel but the times of steps.
    """
    steps, table = scenario.decode_steps, scenario.prefill_steps
    yields, mean = scenario.tokens_per_step, scenario.serving.offered.mean_input
    times = {name: [0] * len(prompts) for name in ("sent", "computed", "moved", "first", "done")}
    line, waiting, sent, done, now = deque[int](), deque[int](), 0, 0, 0
    prefills = [{"ends": None, "batch": [], "link": 0, "moving": deque()} for _ in range(scenario.prefill_replicas)]
    decodes = [{"ends": None, "inside": {}, "fresh": [], "held": 0.0} for _ in range(scenario.decode_replicas)]

    def send() -> None:
        nonlocal sent
        times["sent"][sent] = now
        line.append(sent)
        sent += 1

    def take_prompts() -> None:
        for worker in prefills:
            if worker["ends"] is None and line:
                worker["batch"] = [line.popleft() for _ in range(min(len(line), len(table) - 1))]
                share = sum(float(prompts[k]) for k in worker["batch"]) / (len(worker["batch"]) * mean)
                worker["ends"] = now + int(table[len(worker["batch"])] / 1e-12 * share)

    def begin_step(worker: dict) -> None:
        for request in worker["fresh"]:
            worker["inside"][request] = int(np.ceil((outputs[request] - 1) / yields)) + 1
        worker["joined"], worker["fresh"] = worker["fresh"], []
        count = len(worker["inside"])
        lasts = (steps.seconds / 1e-12)[count] + (steps.per_token / 1e-12)[count] * worker["held"]
        worker["ends"] = now + int(lasts) if count else None

    def find_places() -> None:
        while waiting:
            worker = min(decodes, key=lambda each: len(each["inside"]) + len(each["fresh"]))
            if len(worker["inside"]) + len(worker["fresh"]) >= scenario.places:
                return
            request = waiting.popleft()
            worker["fresh"].append(request)
            worker["held"] += prompts[request]
            if worker["ends"] is None:
                begin_step(worker)

    def end_step(worker: dict) -> None:
        nonlocal done
        for request in worker["joined"]:
            times["first"][request] = now
        worker["held"] += yields * (len(worker["inside"]) + len(worker["fresh"]))
        for request in worker["inside"]:
            worker["inside"][request] -= 1
        for request in [each for each, left in worker["inside"].items() if left == 0]:
            del worker["inside"][request]
            worker["held"] -= prompts[request] + yields * (int(np.ceil((outputs[request] - 1) / yields)) + 1)
            times["done"][request] = now
            done += 1
            if sent < len(prompts):
                send()

    for _ in range(min(scenario.users, len(prompts))):
        send()
    take_prompts()
    while done < len(prompts):
        coming = [(worker["ends"], 0, worker) for worker in prefills]
        coming += [(times["moved"][w["moving"][0]] if w["moving"] else None, 1, w) for w in prefills]
        coming += [(worker["ends"], 2, worker) for worker in decodes]
        now, kind, worker = min((each for each in coming if each[0] is not None), key=lambda each: each[0])
        if kind == 0:
            for request in worker["batch"]:
                lasts = int(float(scenario.transfer_seconds(float(prompts[request]))) / 1e-12)
                worker["link"] = max(now, worker["link"]) + lasts
                times["computed"][request], times["moved"][request] = now, worker["link"]
                worker["moving"].append(request)
            worker["ends"] = None
            take_prompts()
        elif kind == 1:
            waiting.append(worker["moving"].popleft())
            find_places()
        else:
            end_step(worker)
            take_prompts()
            find_places()
            begin_step(worker)
    return times


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"users": 30, "decode_pool": Pool(max_num_seqs=4)},
        {"users": 1, "prefill_replicas": 1, "decode_replicas": 1},
        {"draft_tokens": 3, "prefill_pool": Pool(tensor_parallel_size=2, max_num_batched_tokens=2048)},
    ],
)
def test_the_kernel_is_the_plain_run_to_the_picosecond(changes: dict[str, object]) -> None:
    scenario, rng = split(**changes), np.random.default_rng(7)
    prompts, outputs = rng.integers(500, 1501, 80), rng.integers(20, 61, 80)
    outputs[3] = 1
    found = disaggregated_loop.run(scenario, prompts, outputs)
    naive = plain(scenario, prompts.tolist(), outputs.tolist())
    for name, expected in naive.items():
        off = np.abs(getattr(found, name) - np.array(expected))
        assert off.max() <= 200, name  # ps, of 80 requests: roundings of the tokens held, in another order of sums


# Mean values


@pytest.mark.parametrize("users", [1, 12, 60])
def test_mean_values_meet_the_run_within_the_margin(users: int) -> None:
    serving = replace(SERVING, lengths=so.Lengths(input="uniform 1 high=2000", output="geometric 200"))
    scenario = split(serving=serving, users=users)
    by_means = {e.metric: e.value for e in so.solve(scenario).estimates if e.order == 1}
    found = {e.metric: e.value for e in simulate_loop(scenario, seed=3, replications=4).estimates}
    for metric in ("tpot_mean", "e2el_mean"):
        ratio = (found[metric] / by_means[metric]).to("").magnitude
        assert 0.9 < ratio < 1.1, metric  # the margin of the system


def test_users_are_conserved_and_the_slower_side_binds() -> None:
    for users in (4, 64, 2048):
        scenario = split(users=users)
        found = balance(scenario, users)
        inside = found.decoding + found.throughput * (found.prefill + found.waiting)
        assert inside == pytest.approx(users, rel=1e-6)
    steps = scenario.prefill_steps
    most = scenario.prefill_replicas * (steps.size - 1) / steps[-1]
    assert found.throughput == pytest.approx(most, rel=0.02)
    few = split(users=2048, decode_pool=Pool(max_num_seqs=2))
    assert balance(few, 2048).decoding == pytest.approx(4)


# Steps


def test_a_step_of_few_sequences_on_many_ranks_computes_those_alone() -> None:
    serving = so.Serving(
        model=so.models.deepseek_v3, accelerator=so.accelerators.h200, precision="fp8", data_parallel_size=8,
        enable_expert_parallel=True, arrivals=so.Poisson("1 request/s"), lengths=so.Lengths(input=1024, output=1024),
        step_time=so.MeasuredRoofline(engine="tensorrt-llm"), num_gpu_blocks=20_000,
    )  # fmt: skip
    steps = decode_steps(serving, 64)
    loads = [(0, 0, 0, 1, 1500, 1)] * 3 + [(0, 0, 0, 0, 0, 0)] * 5
    assert steps.seconds[3] + steps.per_token[3] * 4500 == pytest.approx(serving.step_of_loads(loads), rel=1e-12)
    drafted = decode_steps(serving, 64, 3)
    assert (drafted.seconds > steps.seconds).all()
    assert drafted.seconds[8] < 4 * steps.seconds[8]
    prompts = prefill_steps(serving, 1024.0)
    assert prompts.size == 8 * 8 + 1
    assert prompts[8] < 3 * prompts[1]


def test_across_nodes_reductions_cost_the_network() -> None:
    def step(ranks: int, **changes: str) -> float:
        serving = replace(
            SERVING, model=so.models.llama_3_1_70b, tensor_parallel_size=ranks, step_time=so.MeasuredRoofline(**changes)
        )
        return float(serving.step_seconds(0, 0, 0, 8, 8000, 8))

    free = {"network_latency": "0 s", "network_bandwidth": "1e9 GB/s"}
    assert step(8) == step(8, **free)
    assert step(16) - step(16, **free) == pytest.approx(2 * 80 * (73e-6 + 8 * 8192 * 2 / 62e9), rel=1e-3)


# Refusals


def test_what_arrivals_do_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="users"):
        split(users=None, draft_tokens=2)
    with pytest.raises(InputError, match="users"):
        split(users=None, decode_pool=Pool(data_parallel_size=2))
    with pytest.raises(InputError, match="measured-roofline"):
        split(serving=replace(SERVING, step_time=so.Roofline()))
    assert split(users=None, decode_pool=Pool(tensor_parallel_size=2)).decode.tensor_parallel_size == 2
