"""Claims about prefill apart, drafts, chunks and quantised weights: identities, and recursions that share no code."""

from dataclasses import replace

import numpy as np
import pytest
import simpy
from plain_engine import PLAIN

import secondorder as so
from secondorder.simulate import chunked_prefill, disaggregated, serving, speculative
from secondorder.simulate.disaggregated import Path, simulate_disaggregated
from secondorder.simulate.serving.asks import PICO, asks
from secondorder.simulate.serving.engine import arrive
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.speculative import simulate_speculative
from secondorder.workloads.requests import Requests

SERVICE = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 12 request/s",
    lengths="input=geometric 1500 output=geometric 60",
    max_num_seqs=256,
    **PLAIN,
)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Runs of a length that a test may take."""
    for module, length in ((disaggregated, 400), (speculative, 120), (chunked_prefill, 400)):
        monkeypatch.setattr(module, "LENGTH", length)


# Prefill and decode apart


def split(**changes: object) -> so.Disaggregated:
    fields = {"serving": SERVICE, "prefill_replicas": 2, "decode_replicas": 2, "link": "2 GB/s latency=10 us"}
    return so.Disaggregated(**{**fields, **changes})


def test_prompts_links_and_decodes_follow_one_another():
    """Each prefill replica as an engine alone, each link by Lindley's recursion, each decode replica as an engine."""
    scenario = split()
    requests = serving.draw(SERVICE, 300, 1)
    path = Path(scenario, requests, 1, 0)
    path.run()
    for k in range(2):
        own = np.flatnonzero(path.first == k)
        sent = Requests(
            arrival=np.asarray(requests.arrival)[own],
            input_tokens=np.asarray(requests.input_tokens)[own],
            output_tokens=np.ones(len(own), dtype=int),
        )
        alone = serving.run(scenario.prefill, sent).requests
        assert path.computed[own] * PICO == pytest.approx(alone["finish"].to_numpy(), abs=1e-10)
        free = 0
        for place in own[np.lexsort((own, path.computed[own]))]:
            lasts = round(float(scenario.transfer_seconds(int(requests.input_tokens[place]))) / PICO)
            free = max(free, int(path.computed[place])) + lasts
            assert abs(path.moved[place] - free) <= 1
    assert (path.moved > path.computed).all()
    assert (
        path.finished[np.asarray(requests.output_tokens) > 1] > path.moved[np.asarray(requests.output_tokens) > 1]
    ).all()


def test_a_slow_link_delays_first_tokens_and_waits_in_line():
    fast, slow = (
        simulate_disaggregated(split(link=link), seed=1, replications=2)
        for link in ("50 GB/s latency=10 us", "2 GB/s latency=10 us")
    )
    assert slow.best("ttft_mean").amount > fast.best("ttft_mean").amount + 0.05
    alone = float(split().transfer_seconds(1500))
    assert slow.best("transfer_mean").amount > 1.2 * alone
    assert slow.best("link_utilisation").amount == pytest.approx(6 * alone, rel=0.2)


def test_decodes_apart_have_no_gaps_of_prompts():
    apart = simulate_disaggregated(split(link="50 GB/s latency=10 us"), seed=1, replications=2)
    whole = so.simulate(so.Deployment(serving=SERVICE, replicas=4, router="random"), replications=2, requests=2_000)
    assert apart.best("tpot_p99").amount < whole.best("tpot_p99").amount


# Drafts


def drafted(**changes: object) -> so.Speculative:
    calm = replace(SERVICE, model="llama_3_1_70b", tensor_parallel_size=4, arrivals="poisson 0.5 request/s")
    return so.Speculative(**{"serving": calm, "draft": "llama_3_1_8b", "gamma": 4, "acceptance": 0.8, **changes})


@pytest.mark.parametrize(("acceptance", "gamma"), [(0.8, 4), (0.5, 2), (0.0, 3), (1.0, 3)])
def test_tokens_of_a_round_are_those_of_a_geometric_run(acceptance, gamma):
    found = simulate_speculative(drafted(acceptance=acceptance, gamma=gamma), replications=4).best("tokens_per_round")
    expected = sum(acceptance**k for k in range(gamma + 1))
    assert found.amount == pytest.approx(expected, rel=0.03)


def test_without_a_draft_the_rounds_are_the_steps_of_the_engine():
    """Far below saturation prompts seldom meet; the engine and the rounds then give the same times."""
    calm = drafted(gamma=0).serving
    engine = so.simulate(calm, seed=1, replications=2, requests=400)
    found = simulate_speculative(drafted(gamma=0), seed=1, replications=4)
    assert found.best("tpot_mean").amount == pytest.approx(engine.best("tpot_mean").amount, rel=0.03)
    assert found.best("speedup").amount == pytest.approx(1.0)


# Chunks


def test_the_gaps_of_all_tokens_add_up_to_the_decoding_of_all_requests():
    requests = serving.draw(SERVICE, 300, 1)
    asked = list(asks(SERVICE, requests))
    env, recorder = simpy.Environment(initial_time=0), Recorder(len(asked))
    engine = chunked_prefill.GapEngine(SERVICE, env, recorder)
    env.process(arrive(env, asked, engine.submit))
    env.run()
    gaps = int(np.asarray(engine.lasted) @ np.asarray(engine.decodes))
    assert gaps == sum(recorder.finish) - sum(recorder.first_token)


def test_a_smaller_budget_shortens_the_longest_gap():
    gaps = [
        so.simulate(so.ChunkedPrefill(serving=replace(SERVICE, max_num_batched_tokens=budget)), replications=2)
        for budget in (512, 4096)
    ]
    assert gaps[0].best("itl_max").amount < gaps[1].best("itl_max").amount
    assert gaps[0].best("itl_p99").amount < gaps[1].best("itl_p99").amount


# Quantised weights


def test_the_same_precision_gains_nothing_and_a_smaller_one_as_the_formula_says():
    same = so.Quantisation(serving=SERVICE, weight_precision="bf16", compute_precision="bf16")
    assert {round(e.amount, 9) for e in so.simulate(same, replications=2).estimates} == {1.0}
    smaller = so.compare(
        so.Quantisation(serving=SERVICE, weight_precision="int4", compute_precision="bf16"), replications=2
    )
    judged = {(j.formula.metric, j.formula.order): str(j.verdict) for j in smaller.judged}
    assert judged["decode_speedup", 1] == judged["prefill_speedup", 1] == "agrees"


# Prefixes


def test_prefixes_are_found_by_the_engine_itself():
    shared = replace(SERVICE, prefixes="50 tokens=1024 share=0.8")
    found = so.compare(so.PrefixCaching(serving=shared), seed=1, replications=2, requests=4_000)
    hits = next(j for j in found.judged if j.formula.metric == "prefix_hit_rate")
    assert abs(hits.error) < 0.05
