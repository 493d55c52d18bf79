"""Variants of a service in closed form: each against the engine, a naive computation, or drawn numbers."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_engine import PLAIN
from shared_data import shared

import secondorder as so
from secondorder.analytic.serving.chunked_prefill import (
    budget_for,
    gap_law,
    longest_gap,
    solve_chunked_prefill,
    time_to_first_token,
)
from secondorder.analytic.serving.disaggregated import limits, matched_split, solve_disaggregated, transfer_wait
from secondorder.analytic.serving.idle import weighted_quantile
from secondorder.analytic.serving.mean_value import mean_value
from secondorder.analytic.serving.prefix_caching import (
    prompt_seconds,
    solve_prefix_caching,
)
from secondorder.analytic.serving.quantisation import decode_bound, solve_quantisation
from secondorder.analytic.serving.saturation import saturation
from secondorder.analytic.serving.speculative import (
    acceptance_of,
    best_gamma,
    break_even_batch,
    load,
    round_law,
    rounds_for,
    solve_speculative,
    speedup,
    speedup_at,
    tokens_per_round,
)
from secondorder.analytic.serving.stack_distances import hit_ratios, hit_tokens, stack_depths
from secondorder.errors import DoesNotFit, InfeasibleError, InputError, UnknownName, Unstable
from secondorder.fleets.clusters import Link
from secondorder.scenarios.chunked_prefill import ChunkedPrefill
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.scenarios.prefix_caching import PrefixCaching
from secondorder.scenarios.quantisation import Quantisation
from secondorder.scenarios.speculative import Speculative
from secondorder.simulate.serving import draw, run
from secondorder.workloads.requests import Requests


def service(**changes) -> so.Serving:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "arrivals": so.Poisson("6 request/s"),
        "lengths": so.Lengths(input=2048, output=so.Geometric(200)),
        "max_num_seqs": 256,
        **PLAIN,
    }
    return so.Serving(**{**fields, **changes})


# Speculative decoding


def drawn_rounds(acceptance: float, gamma: int, rounds: int, seed: int = 1) -> np.ndarray:
    """Tokens of each round, by tossing a coin for every drafted token."""
    accepted = np.random.default_rng(seed).random((rounds, gamma)) < acceptance
    return np.array([1 + next((k for k, one in enumerate(row) if not one), gamma) for row in accepted.tolist()])


@pytest.mark.parametrize(("acceptance", "gamma"), [(0.3, 2), (0.8, 4), (0.95, 7)])
def test_the_tokens_of_a_round_are_those_of_coins(acceptance, gamma):
    rounds = 40_000
    drawn, law = drawn_rounds(acceptance, gamma, rounds), round_law(acceptance=acceptance, gamma=gamma)
    expected = tokens_per_round(acceptance=acceptance, gamma=gamma)
    assert float(np.arange(1, gamma + 2) @ law) == pytest.approx(expected, rel=1e-12)
    error = 4 * drawn.std() / np.sqrt(rounds)
    assert drawn.mean() == pytest.approx(expected, abs=error)
    assert abs(drawn.mean() - acceptance * gamma) > error  # "a gamma of gamma are accepted" is wrong
    seen = np.bincount(drawn, minlength=gamma + 2)[1:] / rounds
    assert np.all(np.abs(seen - law) < 4.5 * np.sqrt(law * (1 - law) / rounds) + 1e-12)


@given(st.floats(0, 1), st.integers(0, 40))
def test_a_round_yields_between_one_token_and_gamma_and_one(acceptance, gamma):
    mean, law = tokens_per_round(acceptance=acceptance, gamma=gamma), round_law(acceptance=acceptance, gamma=gamma)
    assert 1 - 1e-9 <= mean <= gamma + 1 + 1e-9
    assert law.sum() == pytest.approx(1.0)


def test_certain_acceptance_keeps_the_whole_draft():
    assert tokens_per_round(acceptance=1.0, gamma=5) == 6.0
    assert tokens_per_round(acceptance=1 - 1e-9, gamma=5) == pytest.approx(6.0, rel=1e-6)


@pytest.mark.parametrize("wanted", [1, 3, 50])
def test_the_rounds_of_an_answer_are_those_of_coins(wanted):
    drawn = drawn_rounds(0.7, 3, 60_000).reshape(-1, 60)
    needed = (drawn.cumsum(axis=1) < wanted).sum(axis=1) + 1
    exact = rounds_for(wanted, acceptance=0.7, gamma=3)
    error = 4 * needed.std() / np.sqrt(len(needed))
    assert exact == pytest.approx(needed.mean(), abs=error + 1e-12)
    assert exact >= wanted / tokens_per_round(acceptance=0.7, gamma=3)
    assert rounds_for(0, acceptance=0.7, gamma=3) == 0.0


def test_acceptance_is_the_overlap_of_the_two_laws():
    rng = np.random.default_rng(3)
    target, draft = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    tokens = rng.choice(6, size=40_000, p=draft)
    accepted = rng.random(40_000) < target[tokens] / draft[tokens]
    exact = acceptance_of(target, draft)
    assert accepted.mean() == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))
    with pytest.raises(InputError, match="sum 1"):
        acceptance_of(target * 2, draft)


def test_the_published_speedups_are_met():
    """Leviathan et al. 2023, table 1: (1-a^(g+1))/((1-a)(g c+1)) with c = 0; alpha .8, gamma 5: 3.69; .9, 10: 6.86."""
    assert speedup(acceptance=0.6, gamma=2, cost=0.0) == pytest.approx(1.96, abs=0.005)
    assert speedup(acceptance=0.8, gamma=5, cost=0.0) == pytest.approx(3.69, abs=0.005)
    assert speedup(acceptance=0.9, gamma=10, cost=0.0) == pytest.approx(6.86, abs=0.005)


def seventy(**changes) -> Speculative:
    serving = service(
        model=so.models.llama_3_1_70b,
        accelerator=so.accelerators.h200,
        tensor_parallel_size=2,
        arrivals=so.Poisson("1 request/s"),
        lengths=so.Lengths(input=512, output=256),
    )
    return Speculative(**{"serving": serving, "draft": so.models.llama_3_1_8b, "acceptance": 0.8, **changes})


def naive_step(scenario: Speculative, model, sequences: float, positions: int, context: float) -> float:
    """The roofline of ``positions`` tokens of each sequence, written out: FLOPs, bytes, all-reduces, host."""
    part, ranks = scenario.serving.accelerator, 2
    tokens = sequences * positions
    pairs = sequences * sum(context + j for j in range(positions))
    flops = (
        model.flops_per_token * tokens
        + 4 * model.layers * model.hidden * pairs
        + 2 * model.vocab * model.hidden * tokens
    )
    weights = (model.parameters - model.vocab * model.hidden) * 2
    kv = 2 * model.layers * model.kv_heads * model.head_dim * 2
    read = sequences * (context + positions - 1)
    compute = flops / (989e12 * 0.7 * ranks)
    memory = (weights + kv * (read + tokens)) / (4.8e12 * 0.8 * ranks)
    assert part.name.startswith("NVIDIA H200")
    reductions = 2 * model.layers
    links = reductions * (2 * 2e-6 + tokens * model.hidden * 2 / 450e9)
    return max(compute, memory) + links + 1e-3


@pytest.mark.parametrize("batch", [1, 30, 200])
def test_a_round_is_gamma_steps_of_the_draft_and_a_step_over_all_positions(batch):
    scenario, context = seventy(gamma=3), 700.0
    draft = sum(naive_step(scenario, scenario.draft, batch, 1, context + k) for k in range(3))
    check = naive_step(scenario, scenario.serving.model, batch, 4, context)
    assert float(scenario.round(float(batch), context)) == pytest.approx(draft + check, rel=1e-3)


def test_the_gain_of_a_draft_turns_into_a_loss_where_the_check_waits_for_arithmetic():
    scenario = seventy(gamma=4)
    gains = np.asarray(speedup_at(scenario, np.array([1.0, 8.0, 64.0, 128.0, 256.0])))
    assert gains[0] > 1.9
    assert gains[-1] < 0.7
    assert np.all(np.diff(gains) < 0)
    claimed = solve_speculative(scenario)["speedup"][0].amount  # one check taken for one decode step
    assert claimed == pytest.approx(gains[0], rel=0.02)
    assert claimed > 3 * gains[-1]
    most = break_even_batch(scenario)
    assert speedup_at(scenario, float(most)) >= 1 > speedup_at(scenario, float(most + 1))


def test_the_best_gamma_is_the_best_of_all_and_falls_with_the_batch():
    scenario = seventy()
    for batch in (1.0, 64.0):
        best = best_gamma(scenario, batch)
        assert all(speedup_at(scenario, batch, gamma=best) >= speedup_at(scenario, batch, gamma=g) for g in range(12))
    assert best_gamma(scenario, 1.0) > best_gamma(scenario, 128.0)


def test_without_a_draft_the_mean_values_are_those_of_the_engine():
    scenario = seventy(gamma=0)
    answer = so.simulate(scenario.serving, seed=1, requests=3000)
    assert load(scenario, 1.0).tpot == pytest.approx(answer.best("tpot_mean").amount, rel=0.05)


def test_rounds_on_a_clock_of_their_own_have_the_mean_values_at_load():
    """Sequences that decode in rounds, simulated: Poisson arrivals, prompts one at a time, coins for the drafts."""
    scenario, rate, context = seventy(gamma=4), 2.0, 512 + 128.0
    step, prompt = scenario.serving.step_seconds, (512, 512 * 513 / 2, 512)
    rng, now, left = np.random.default_rng(5), 0.0, np.empty(0, int)
    clock, tokens, upcoming, waiting = 0.0, 0, rng.exponential(1 / rate), 0
    law = round_law(acceptance=0.8, gamma=4)
    while tokens < 255 * 6000:
        while upcoming <= now:
            waiting, upcoming = waiting + 1, upcoming + rng.exponential(1 / rate)
        n = len(left)
        if not n and not waiting:
            now = upcoming
            continue
        lasts = float(scenario.round(float(n), context)) if n else 0.0
        if waiting:
            alone = step(0, 0, 0, n, n * context, n) if n else 0.0
            lasts += step(*prompt, n, n * context, n + 1) - alone + scenario.draft_seconds(*prompt, 0, 0, 1)
        now, clock = now + lasts, clock + lasts * n
        gained = rng.choice(np.arange(1, 6), size=n, p=law)
        tokens += int(np.minimum(gained, left).sum())
        left = left - gained
        left = np.append(left[left > 0], [255] * bool(waiting)).astype(int)
        waiting -= bool(waiting)
    found = load(scenario, rate).tpot
    assert found == pytest.approx(clock / tokens, rel=0.03)
    assert abs(found - scenario.round(1.0, context) / 3.3616) > 0.03 * found  # one sequence alone is not the load


def test_a_draft_needs_the_same_tokens_and_a_step_time_of_its_own():
    with pytest.raises(InputError, match="vocabulary"):
        seventy(draft=so.models.mixtral_8x7b)
    measured = service(step_time=so.Affine(per_step=8e-3, per_prefill_token=6e-5, per_decode=4e-5))
    with pytest.raises(InputError, match="draft_step_time"):
        Speculative(serving=measured, draft=so.models.llama_3_1_8b, acceptance=0.5)
    with pytest.raises(DoesNotFit, match="no cache"):
        Speculative(serving=service(gpu_memory_utilization=0.3), draft=so.models.llama_3_1_8b, acceptance=0.5)
    with pytest.raises(Unstable, match="gamma 4"):
        load(seventy(), 50.0)
    with pytest.raises(InputError, match="draft_step_time: got '8e-3' without per_prefill_token"):
        seventy(draft_step_time="affine 8e-3")


# Disaggregation


def disaggregated(rate: float = 30.0, **changes) -> Disaggregated:
    serving = service(
        arrivals=so.Poisson(f"{rate} request/s"), lengths=so.Lengths(input=2048, output=so.Geometric(256))
    )
    fields = {"prefill_replicas": 2, "decode_replicas": 2, "link": Link(bandwidth="50 GB/s", latency="10 us")}
    return Disaggregated(serving=serving, **{**fields, **changes})


def chained(scenario: Disaggregated, count: int, seed: int) -> dict[str, np.ndarray]:
    """Every request through an engine, a link and another engine, each picked at random."""
    rng = np.random.default_rng(seed)
    requests = draw(scenario.serving, count, seed)
    arrival, outputs = np.asarray(requests.arrival), np.asarray(requests.output_tokens)
    ready, joined = np.zeros(count), np.zeros(count)
    chosen = rng.integers(scenario.prefill_replicas, size=count)
    for replica in range(scenario.prefill_replicas):
        mine = np.flatnonzero(chosen == replica)
        prompts = np.asarray(requests.input_tokens)[mine]
        part = Requests(arrival=arrival[mine], input_tokens=prompts, output_tokens=np.ones(len(mine), int))
        done = run(scenario.prefill, part).requests["finish"].to_numpy()
        free = 0.0
        for place in np.argsort(done, kind="stable"):
            free = max(free, done[place]) + 10e-6 + prompts[place] * 131_072 / 50e9
            ready[mine[place]] = free
    chosen, tpot = rng.integers(scenario.decode_replicas, size=count), np.full(count, np.nan)
    for replica in range(scenario.decode_replicas):
        mine = np.flatnonzero(chosen == replica)
        mine = mine[np.argsort(ready[mine], kind="stable")]
        part = Requests(arrival=ready[mine], input_tokens=np.full(len(mine), 2048), output_tokens=outputs[mine])
        served = run(scenario.decode, part).requests
        tpot[mine], joined[mine] = served["tpot"], served["finish"]
    kept = slice(count // 10, count * 9 // 10)
    return {"ttft": (ready - arrival)[kept], "tpot": tpot[kept], "e2el": (joined - arrival)[kept]}


def test_a_split_system_is_what_two_engines_and_a_link_do():
    scenario = disaggregated()
    answer, runs = solve_disaggregated(scenario), [chained(scenario, 4000, seed) for seed in range(4)]
    for metric, value in (
        ("ttft_mean", lambda r: r["ttft"].mean()),
        ("ttft_p99", lambda r: np.quantile(r["ttft"], 0.99)),
        ("tpot_mean", lambda r: np.nanmean(r["tpot"])),
        ("tpot_p99", lambda r: np.nanquantile(r["tpot"], 0.99)),
        ("e2el_mean", lambda r: r["e2el"].mean()),
    ):
        seen = np.array([value(r) for r in runs])
        spread = 3.2 * seen.std(ddof=1) / 2
        assert answer.best(metric).amount == pytest.approx(seen.mean(), abs=spread + 0.05 * seen.mean()), metric
    without_wait = answer["ttft_mean"][0].amount  # prefill and transfer alone: too short, outside of every interval
    assert without_wait < 0.6 * np.mean([r["ttft"].mean() for r in runs])


def test_the_slower_pool_binds_and_the_split_that_matches_is_best():
    counts = [(p, 4 - p) for p in (1, 2, 3)]
    found = [limits(disaggregated(1.0, prefill_replicas=p, decode_replicas=d)) for p, d in counts]
    assert [one.binds for one in found] == ["prefill", "prefill", "decode"]
    best = counts[int(np.argmax([one.rate for one in found]))]
    assert matched_split(prefill_rate=found[0].prefill, decode_rate=found[2].decode, replicas=4) == best


def test_a_thin_link_binds_and_is_named():
    thin = disaggregated(30.0, link=Link(bandwidth="3 GB/s"))
    assert limits(thin).binds == "link"
    assert limits(thin).link == pytest.approx(2 * 3e9 / (2048 * 131_072))
    with pytest.raises(Unstable, match="links carry"):
        solve_disaggregated(thin)


def test_every_part_that_cannot_carry_the_load_is_named_with_what_helps():
    thin = disaggregated(1.0, link=Link(bandwidth="3 GB/s"))
    most = limits(thin)
    assert most.link < most.prefill < most.decode
    both = disaggregated((most.decode + most.prefill) / 2, link=Link(bandwidth="3 GB/s"))
    with pytest.raises(Unstable) as refusal:
        solve_disaggregated(both)
    assert "the prefill replicas carry 45.57 together and the links carry 22.35 together;" in str(refusal.value)
    assert "decode" not in str(refusal.value)
    assert "add prefill replicas, use a faster link, or lower the rate" in str(refusal.value)


def test_splitting_keeps_the_time_per_token_even_and_costs_throughput():
    answer = solve_disaggregated(disaggregated(30.0))
    assert answer.best("tpot_p99").amount < 0.8 * answer.best("collocated_tpot_p99").amount
    assert answer.best("saturation_rate").amount < answer.best("collocated_saturation_rate").amount


def test_the_link_waits_as_pollaczek_and_khinchine_say():
    rng = np.random.default_rng(2)
    times, weight = np.array([0.005, 0.02]), np.array([0.7, 0.3])
    arrivals, sizes = np.cumsum(rng.exponential(1 / 50, 200_000)), rng.choice(times, size=200_000, p=weight)
    free, waits = 0.0, []
    for at, size in zip(arrivals.tolist(), sizes.tolist(), strict=True):
        waits.append(max(0.0, free - at))
        free = max(free, at) + size
    batches = np.array(waits).reshape(20, -1).mean(axis=1)
    exact = transfer_wait(arrival_rate=50.0, transfer=times, weight=weight)
    assert exact == pytest.approx(batches.mean(), abs=3.9 * batches.std(ddof=1) / np.sqrt(20))


def test_a_random_split_asks_for_poisson_arrivals():
    bursty = service(arrivals=so.Gamma("6 request/s", burstiness=0.5))
    with pytest.raises(InputError, match="Poisson"):
        Disaggregated(serving=bursty, prefill_replicas=1, decode_replicas=1, link=Link(bandwidth="50 GB/s"))


# Prefix caching


def sharing(count: int, rate: float, seed: int = 0, shared_blocks: int = 3) -> so.Trace:
    """Prompts of 2,048 tokens, of which the first 512 ``shared_blocks`` are the same for all."""
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / rate, count))
    ids = [
        np.array([*range(shared_blocks), *(100 + 4 * k + j for j in range(4 - shared_blocks))]) for k in range(count)
    ]
    requests = Requests(
        arrival=arrival - arrival[0],
        input_tokens=np.full(count, 2048),
        output_tokens=rng.geometric(1 / 200, count),
        hash_ids=tuple(ids),
        hash_block=512,
    )
    return so.Trace(name="shared prompt", requests=requests)


def test_a_shared_prefix_has_the_latencies_of_the_engine_that_caches_it():
    rate = 12.0
    answer = solve_prefix_caching(
        PrefixCaching(serving=service(arrivals=so.Poisson(f"{rate} request/s")), hit_ratio=0.75)
    )
    runs = []
    for seed in range(4):
        trace = sharing(3000, rate, seed)
        runs.append(
            run(service(arrivals=trace, lengths=None, enable_prefix_caching=True), trace.requests).requests[300:-300]
        )
    assert np.mean([r["cached_tokens"].sum() / r["input_tokens"].sum() for r in runs]) == pytest.approx(0.75, abs=1e-3)
    for metric, values in (
        ("ttft_mean", [r["ttft"].mean() for r in runs]),
        ("tpot_mean", [r["tpot"].mean() for r in runs]),
        ("tpot_p99", [r["tpot"].quantile(0.99) for r in runs]),
    ):
        spread = 3.2 * np.std(values, ddof=1) / 2
        assert answer.best(metric).amount == pytest.approx(np.mean(values), abs=spread + 0.08 * np.mean(values)), metric
    assert answer["uncached_ttft_mean"][0].amount > 1.5 * np.mean([r["ttft"].mean() for r in runs])


def test_hits_shift_saturation_to_where_the_engine_saturates():
    answer = solve_prefix_caching(PrefixCaching(serving=service(num_gpu_blocks=60_000), hit_ratio=0.75))
    limit, bare = answer.best("saturation_rate").amount, answer.best("uncached_saturation_rate").amount
    found = []
    for seed in range(4):
        trace = sharing(2500, 3 * limit, seed)
        engine = service(arrivals=trace, lengths=None, enable_prefix_caching=True, num_gpu_blocks=60_000)
        finish = np.sort(run(engine, trace.requests).requests["finish"].to_numpy())
        found.append(1200 / (finish[2000] - finish[800]))
    throughput = float(np.mean(found))
    assert limit == pytest.approx(throughput, abs=3.2 * np.std(found, ddof=1) / 2 + 0.03 * throughput)
    assert bare < 0.8 * throughput
    small = solve_prefix_caching(PrefixCaching(serving=service(), hit_ratio=0.75)).best("saturation_rate")
    assert not small.in_domain
    assert "share" in small.remark


def test_without_hits_it_is_the_service_itself():
    answer = solve_prefix_caching(PrefixCaching(serving=service(), hit_ratio=0.0))
    assert answer.best("ttft_p99").amount == pytest.approx(so.solve(service()).best("ttft_p99").amount, rel=1e-9)


def least_recently_used(requests: Requests, capacity: int) -> np.ndarray:
    """Hits of each request on an ordered dictionary of ``capacity`` blocks, one request after the other."""
    size, cache, found = requests.hash_block, OrderedDict(), []
    for k in range(len(requests)):
        prompt, output = int(requests.input_tokens[k]), int(requests.output_tokens[k])
        used = -(-(prompt + output - 1) // size)
        blocks = [int(requests.hash_ids[k][i]) if i < prompt // size else ("own", k, i) for i in range(used)]
        hits = 0
        while hits < (prompt - 1) // size and blocks[hits] in cache:
            hits += 1
        found.append(hits * size)
        for block in reversed(blocks):
            cache.pop(block, None)
            cache[block] = None
        while len(cache) > capacity:
            cache.popitem(last=False)
    return np.array(found)


@pytest.mark.parametrize("capacity", [3, 8, 20, 200])
def test_stack_depths_give_the_hits_of_a_cache_of_every_size(capacity):
    rng = np.random.default_rng(capacity)
    trees = [[int(rng.integers(10**6)) for _ in range(4)] for _ in range(12)]
    depth, tree = rng.integers(1, 5, size=500), rng.integers(12, size=500)
    requests = Requests(
        arrival=np.arange(500.0),
        input_tokens=depth * 64 + rng.integers(0, 64, 500),
        output_tokens=rng.integers(1, 200, 500),
        hash_ids=tuple(np.array(trees[t][:d]) for t, d in zip(tree, depth, strict=True)),
        hash_block=64,
    )
    np.testing.assert_array_equal(hit_tokens(requests, capacity), least_recently_used(requests, capacity))


def test_hits_of_a_real_trace_rise_with_the_cache():
    trace = so.read_trace(shared("mooncake_conversation.jsonl")).head(1500)
    ratios = hit_ratios(trace.requests, [100, 1000, 10_000])
    assert np.all(np.diff(ratios) > 0)
    expected = least_recently_used(trace.requests, 1000).sum() / trace.requests.input_tokens.sum()
    assert ratios[1] == pytest.approx(expected, rel=1e-12)


def test_a_trace_answers_with_its_own_hits():
    trace = sharing(300, 2.0)
    scenario = PrefixCaching(serving=service(arrivals=trace, lengths=None))
    answer = solve_prefix_caching(scenario)
    assert answer.best("prefix_hit_rate").amount == pytest.approx(0.75 * 299 / 300)  # the first finds nothing
    warm = prompt_seconds(scenario.serving, np.array([2048.0]), np.array([1536.0]))[0]
    assert answer["ttft_mean"][0].amount == pytest.approx((299 * warm + answer["uncached_ttft_mean"][0].amount) / 300)


def test_a_ratio_or_a_trace_that_knows_its_prefixes_but_not_both():
    for fields in (
        {"serving": service()},
        {"serving": service(arrivals=sharing(10, 1.0), lengths=None), "hit_ratio": 0.5},
    ):
        with pytest.raises(InputError, match="hit_ratio"):
            PrefixCaching(**fields)
    with pytest.raises(InputError, match="last token"):
        PrefixCaching(serving=service(), hit_ratio=1.0)
    with pytest.raises(InputError, match="no hash_ids"):
        stack_depths(draw(service(), 5))


# Chunked prefill


@pytest.mark.parametrize("budget", [256, 512, 3000, 8192])
def test_the_chunks_of_a_prompt_beside_decodes_are_those_of_the_engine(budget):
    """Twenty sequences decode; then a prompt comes. The engine's own steps say how long it took and the worst gap."""
    serving = service(max_num_batched_tokens=budget, lengths=so.Lengths(input=4096, output=256))
    requests = Requests(arrival=[*[0.0] * 20, 5.0], input_tokens=[*[64] * 20, 4096], output_tokens=[*[2000] * 20, 2])
    served = run(serving, requests, leaps=False)
    last = served.requests.iloc[20]
    mine = served.series[(served.series["time"] > last["scheduled"]) & (served.series["time"] <= last["first_token"])]
    gaps = np.diff(np.concatenate([[last["scheduled"]], mine["time"]]))
    context = 64 + 5.0 / 0.0072  # tokens of cache of each of the twenty when it comes, about
    here = replace(serving, lengths=so.Lengths(input=int(context), output=2))
    assert time_to_first_token(here, 4096, budget=budget, decodes=20) == pytest.approx(gaps.sum(), rel=0.01)
    assert longest_gap(here, 4096, budget=budget, decodes=20) == pytest.approx(gaps.max(), rel=0.01)


def test_a_smaller_budget_evens_the_gaps_and_delays_the_first_token():
    budgets = [256, 512, 1024, 2048]
    gaps = [longest_gap(service(), 8192, budget=b, decodes=30) for b in budgets]
    first = [time_to_first_token(service(), 8192, budget=b, decodes=30) for b in budgets]
    assert gaps == sorted(gaps)
    assert first == sorted(first, reverse=True)
    assert longest_gap(service(), 8192, budget=None, decodes=30) > 3 * gaps[-1]


def test_the_budget_for_a_gap_is_the_largest_that_keeps_it():
    found = budget_for(service(), 8192, itl=30e-3, decodes=30)
    assert longest_gap(service(), 8192, budget=found, decodes=30) <= 30e-3
    assert longest_gap(service(), 8192, budget=found + 1, decodes=30) > 30e-3
    with pytest.raises(InfeasibleError, match="one prompt token"):
        budget_for(service(), 8192, itl=1e-3, decodes=30)
    with pytest.raises(InputError, match="decodes of a step"):
        longest_gap(service(), 8192, budget=20, decodes=30)


@pytest.mark.parametrize("budget", [512, 2048])
def test_the_law_of_the_gaps_is_that_of_the_engine(budget):
    serving = service(max_num_batched_tokens=budget)
    answer = solve_chunked_prefill(ChunkedPrefill(serving=serving))
    served = [run(serving, draw(serving, 1500, seed), leaps=False).series[500:] for seed in range(4)]
    means, tails = [], []
    for series in served:
        step, running = np.diff(series["time"]), series["running"].to_numpy()[1:].astype(float)
        busy = running > 1
        means.append(np.average(step[busy], weights=running[busy] - 0.5))
        tails.append(weighted_quantile(step[busy], running[busy], 0.99))
    spread = 3.2 * np.std(means, ddof=1) / 2
    assert answer.best("itl_mean").amount == pytest.approx(np.mean(means), abs=spread + 0.05 * np.mean(means))
    assert answer.best("itl_p99").amount == pytest.approx(np.mean(tails), rel=0.1)
    assert np.mean(tails) > 1.3 * answer.best("itl_mean").amount  # the mean does not tell the stalls


def test_prompts_faster_than_the_budget_are_refused():
    with pytest.raises(Unstable, match="raise the budget"):
        gap_law(service(max_num_batched_tokens=256), rate=20.0, decodes=100.0)
    with pytest.raises(Unstable, match="saturates"):
        solve_chunked_prefill(ChunkedPrefill(serving=service(arrivals=so.Poisson("100 request/s"))))


# Quantisation


def test_all_at_one_precision_is_the_engine_of_that_precision():
    fp8 = dict.fromkeys(("weight_precision", "compute_precision", "kv_precision", "embedding_precision"), "fp8")
    quantised = Quantisation(serving=service(), **fp8).quantised
    engine = service(precision="fp8", kv_precision="fp8")
    loaded = Quantisation(serving=service(), **{**fp8, "embedding_precision": "bf16"}).quantised
    assert loaded.kv_blocks == engine.kv_blocks  # an engine that quantises at run time keeps embedding and head
    for step in ((0, 0, 0, 1, 500, 1), (2048, 2048 * 1000, 2048, 30, 30_000, 31), (100, 5050, 100, 0, 0, 1)):
        assert quantised.step_seconds(*step) == pytest.approx(engine.step_seconds(*step), rel=1e-12)


@pytest.mark.parametrize("ranks", [1, 4])
def test_small_weights_are_read_small_and_multiplied_at_the_rate_asked_for(ranks):
    serving = service(tensor_parallel_size=ranks)
    step = Quantisation(
        serving=serving, weight_precision="int4", compute_precision="bf16", kv_precision="fp8"
    ).quantised
    model = serving.model
    head, kv = model.vocab * model.hidden, 2 * 32 * 8 * 128
    layers = model.parameters - 2 * head
    comm = 0.0 if ranks == 1 else 64 * (2 * (ranks - 1) * 2e-6 + 2 * (ranks - 1) / ranks * 30 * 4096 * 2 / 450e9)
    memory = (layers / 2 + head * 2 + kv * (30_000 + 30)) / (3.35e12 * 0.8 * ranks)
    assert step.step_seconds(0, 0, 0, 30, 30_000, 30) == pytest.approx(memory + comm + 1e-3, rel=1e-9)
    prefill = (2048, 2048 * 2049 / 2, 2048, 0, 0, 1)
    assert step.step_seconds(*prefill) == pytest.approx(serving.step_seconds(*prefill), rel=1e-12)  # arithmetic, bf16


def test_no_rate_is_borrowed_from_another_precision():
    with pytest.raises(UnknownName, match="H100"):
        Quantisation(serving=service(), weight_precision="int4", compute_precision="int4")
    old = service(accelerator=so.accelerators.a100_80gb)
    with pytest.raises(UnknownName, match="A100"):
        Quantisation(serving=old, weight_precision="fp8", compute_precision="fp8")
    measured = service(step_time=so.Affine(per_step=8e-3, per_prefill_token=6e-5, per_decode=4e-5))
    with pytest.raises(InputError, match="Roofline"):
        Quantisation(serving=measured, weight_precision="int4", compute_precision="bf16")


def test_small_weights_fit_where_large_ones_do_not():
    large = service(model=so.models.llama_3_1_70b, tensor_parallel_size=4)
    one = {"serving": large, "compute_precision": "bf16", "tensor_parallel_size": 1}
    fits = Quantisation(weight_precision="int4", **one)
    usable = so.accelerators.h100_sxm.visible * 0.92
    left = usable - fits.weight_bytes - large.reserved - 0.04 * 2**30  # beside weights: tables and scales
    assert fits.quantised.kv_blocks == int(left // (2 * 80 * 8 * 128 * 2 * 16))
    with pytest.raises(DoesNotFit, match="bf16"):
        Quantisation(weight_precision="bf16", **one)


def test_decoding_gains_by_bytes_and_prefill_by_rate():
    small = solve_quantisation(Quantisation(serving=service(), weight_precision="int4", compute_precision="bf16"))
    fast = solve_quantisation(
        Quantisation(serving=service(), weight_precision="fp8", compute_precision="fp8", kv_precision="fp8")
    )
    for answer in (small, fast):
        bound, seen = answer["decode_speedup"]
        assert 1 < seen.amount < bound.amount
    assert [e.amount for e in small["prefill_speedup"]] == pytest.approx([1.0, 1.0], rel=1e-3)
    assert fast["prefill_speedup"][0].amount == pytest.approx(1979 / 989, rel=1e-3)
    assert 1.9 < fast["prefill_speedup"][1].amount < fast["prefill_speedup"][0].amount
    assert small["decode_speedup"][0].amount < 4  # the ratio of the weights' bits forgets the head and the cache


@given(st.floats(1e9, 1e12), st.floats(0, 1e12), st.floats(0.1, 1), st.floats(0.1, 1))
def test_the_bound_lies_between_the_gains_of_its_parts(weights, cache, by_weight, by_cache):
    bound = decode_bound(weights=weights, cache=cache, weights_after=by_weight * weights, cache_after=by_cache * cache)
    assert min(1 / by_weight, 1 / by_cache) * (1 - 1e-9) <= bound <= max(1 / by_weight, 1 / by_cache) * (1 + 1e-9)


def test_quantised_services_saturate_where_their_engine_does():
    quantised = Quantisation(serving=service(), weight_precision="int4", compute_precision="bf16").quantised
    limit = saturation(quantised).rate
    crowded = replace(quantised, arrivals=so.Poisson(f"{3 * limit} request/s"))
    finish = np.sort(run(crowded, draw(crowded, 2500)).requests["finish"].to_numpy())
    assert limit == pytest.approx(1000 / (finish[1800] - finish[800]), rel=0.06)


# Past saturation

VARIANTS = {
    "serving": lambda serving: serving,
    "speculative": lambda serving: Speculative(serving=serving, draft=so.models.llama_3_2_1b, gamma=4, acceptance=0.8),
    "disaggregated": lambda serving: Disaggregated(
        serving=serving, prefill_replicas=2, decode_replicas=2, link=Link(bandwidth="50 GB/s", latency="10 us")
    ),
    "prefix_caching": lambda serving: PrefixCaching(
        serving=replace(serving, enable_prefix_caching=True), hit_ratio=0.5
    ),
    "chunked_prefill": lambda serving: ChunkedPrefill(serving=serving),
    "quantisation": lambda serving: Quantisation(serving=serving, weight_precision="int4", compute_precision="bf16"),
}


@pytest.mark.parametrize("name", list(VARIANTS))
def test_no_variant_answers_past_saturation(name):
    """One line that names the scenario, the load and what to do; exit code 3. Latencies have no steady state there."""
    made = VARIANTS[name](service(arrivals=so.Poisson("300 request/s")))
    with pytest.raises(
        Unstable, match=rf"^{name.replace('_', ' ')}: .*300 request/s .*(lower the rate|add replicas)"
    ) as caught:
        so.solve(made)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    quiet = so.solve(VARIANTS[name](service(arrivals=so.Poisson("2 request/s"))))
    assert "utilisation" not in quiet or quiet.best("utilisation").amount < 1


def test_quantisation_is_answered_where_the_unquantised_service_saturates():
    serving = service(model=so.models.llama_3_1_70b, tensor_parallel_size=2, max_num_seqs=256)
    small = Quantisation(serving=serving, weight_precision="int4", compute_precision="bf16")
    before, after = saturation(serving).rate, saturation(small.quantised).rate
    between = so.Poisson(f"{(before + after) / 2} request/s")
    with pytest.raises(Unstable, match=r"^serving: "):
        so.solve(replace(serving, arrivals=between))
    answer = solve_quantisation(replace(small, serving=replace(serving, arrivals=between)))
    assert before / after < answer.best("utilisation").amount < 1
    assert answer.best("saturation_speedup").amount == pytest.approx(after / before)


def test_a_budget_is_answered_up_to_saturation():
    """By means and by the queue, and the gaps of both grow with the load."""
    calm, crowded = (
        solve_chunked_prefill(ChunkedPrefill(serving=replace(small, arrivals=so.Poisson(f"{share * limit} request/s"))))
        for small in [service(max_num_batched_tokens=512)]
        for limit in [saturation(small).rate]
        for share in (0.5, 0.98)
    )
    for few, many in zip(calm["itl_mean"], crowded["itl_mean"], strict=True):
        assert few.order == many.order
        assert many.amount > few.amount
    assert crowded.best("utilisation").amount == pytest.approx(0.98)


def test_the_budget_that_keeps_a_gap_is_told_by_its_name():
    serving = service(max_num_batched_tokens=512)
    row = solve_chunked_prefill(ChunkedPrefill(serving=serving, itl="15 ms")).best("budget_for_itl")
    found, decodes = int(row.amount), mean_value(serving, serving.rate).decodes
    gaps = [longest_gap(serving, 2048, budget=budget, decodes=decodes) for budget in (found, found + 1)]
    assert gaps[0] <= 15e-3 < gaps[1]
    assert row.unit == "token"
    assert "largest max_num_batched_tokens that keeps gaps within 15 ms" in row.remark
    wide = solve_chunked_prefill(ChunkedPrefill(serving=service(), itl="10 s")).best("budget_for_itl")
    assert "takes the longest prompt in one step" in wide.remark


# What no engine could serve

TOO_LONG = service(lengths=so.Lengths(input=2048, output=200), num_gpu_blocks=141)  # 2,247 tokens in 2,240
JUST = replace(TOO_LONG, num_gpu_blocks=142)


@pytest.mark.parametrize(
    "asked",
    [
        lambda serving: serving,
        lambda serving: so.Capacity(serving=serving, rate="1 request/s", e2el_p99="50 s"),
        lambda serving: replace(disaggregated(), serving=serving),
        lambda serving: PrefixCaching(serving=serving, hit_ratio=0.5),
        lambda serving: ChunkedPrefill(serving=serving),
        lambda serving: Quantisation(serving=serving, weight_precision="int4", compute_precision="bf16"),
        lambda serving: Speculative(serving=serving, draft=so.models.llama_3_2_1b, acceptance=0.8),
    ],
)
def test_a_request_beyond_the_whole_cache_is_refused_by_formulas_and_engine(asked):
    slow = so.Poisson("0.01 request/s")
    with pytest.raises(DoesNotFit, match="hold more tokens than the cache of 2240"):
        so.solve(asked(replace(TOO_LONG, arrivals=slow)))
    assert so.solve(asked(replace(JUST, arrivals=slow)))
    with pytest.raises(DoesNotFit, match="hold more tokens than the cache of 2240"):
        so.simulate(replace(TOO_LONG, arrivals=slow), requests=20, replications=2)
    assert so.simulate(replace(JUST, arrivals=slow), requests=20, replications=2)


def test_the_last_token_of_a_prompt_is_never_found():
    fixed = service(lengths=so.Lengths(input=2048, output=200))
    most = PrefixCaching(serving=fixed, hit_ratio=2047 / 2048)
    assert so.solve(most).best("prefill_tokens_mean").amount == pytest.approx(1.0)
    with pytest.raises(InputError, match=r"hit_ratio: got 0\.9999, expected below 1, at most 0\.99951"):
        PrefixCaching(serving=fixed, hit_ratio=0.9999)
