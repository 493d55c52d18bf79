"""The cheapest layout: every candidate is sized, the contenders are simulated, and a dearer one never wins."""

from dataclasses import replace
from importlib import import_module

import pytest

import secondorder as so
from secondorder.errors import InfeasibleError, InputError
from secondorder.studies.points import Keeping

search_module = import_module("secondorder.studies.search")

CHAT = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 1 request/s",
    lengths="input=512 output=geometric 64",
    max_num_seqs=32,
)
ASKED = {"rate": "40 request/s", "ttft_p99": "120 ms"}
PRICES = {"h100_sxm": "3 USD/hour", "a100_80gb": "1 USD/hour"}


@pytest.fixture(scope="module")
def closed():
    return so.search(CHAT, **ASKED, rentals=PRICES, tensor_parallel_sizes=(1, 2), contenders=0)


def test_every_layout_is_a_candidate_or_says_why_it_is_none(closed):
    assert len(closed.candidates) + len(closed.refused) == 4
    precise = so.search(
        CHAT, **ASKED, rentals=PRICES, tensor_parallel_sizes=(1,), precisions=("bf16", "fp8"), contenders=0
    )
    assert "expected fp64" in precise.refused["1 a100_80gb in fp8"]


def test_candidates_are_those_of_capacity_and_the_cheapest_is_first(closed):
    costs = [each.cost for each in closed.candidates]
    assert costs == sorted(costs)
    for each in closed.candidates:
        price = PRICES[each.accelerator]
        served = so.Serving(
            **{**vars_of(CHAT), "accelerator": each.accelerator, "tensor_parallel_size": each.tensor_parallel_size}
        )
        sized = so.solve(so.Capacity(serving=served, price=price, **ASKED))
        assert each.replicas == sized.best("replicas").amount
        assert each.cost == pytest.approx(sized.best("cost").amount)
        assert each.token_costs["cost_per_output_token"] == pytest.approx(each.cost / 3600 / 40 / 64, rel=1e-3)


def vars_of(serving):
    return {name: getattr(serving, name) for name in ("model", "arrivals", "lengths", "max_num_seqs")}


def test_token_budgets_are_candidates_of_their_own():
    """A small budget cuts prompts, and each further step of a first token takes its time."""
    long = replace(CHAT, lengths="input=3000 output=geometric 64")
    found = so.search(
        long,
        rate="8 request/s",
        ttft_p99="2 s",
        rentals={"h100_sxm": "3 USD/hour"},
        tensor_parallel_sizes=(1,),
        token_budgets=(512, 8192, 0),
        contenders=0,
    )
    by_budget = {each.max_num_batched_tokens: each for each in found.candidates}
    assert set(by_budget) == {512, 8192}
    assert list(found.refused) == ["1 h100_sxm in bf16, 0 tokens a step"]
    for budget, each in by_budget.items():
        served = replace(long, max_num_batched_tokens=budget)
        sized = so.solve(so.Capacity(serving=served, rate="8 request/s", ttft_p99="2 s", price="3 USD/hour"))
        assert (each.replicas, each.cost) == (sized.best("replicas").amount, sized.best("cost").amount)
        assert found.label(each).endswith(f" bf16 {budget}")
    costs = [(each.cost, each.p99s["ttft_p99"]) for each in found.candidates]
    assert costs == sorted(costs)


def test_a_contender_is_simulated_with_its_own_budget():
    layouts = {"rentals": {"h100_sxm": "3 USD/hour"}, "tensor_parallel_sizes": (1,), "token_budgets": (256,)}
    runs = {"requests": 1_000, "replications": 2}
    best = so.search(CHAT, rate="5 request/s", ttft_p99="2 s", **layouts, contenders=1, **runs).best
    alone = replace(CHAT, arrivals="poisson 5 request/s")
    own, usual = (
        so.simulate(so.Deployment(serving=replace(alone, max_num_batched_tokens=budget), replicas=1), **runs)
        for budget in (256, 8192)
    )
    assert best.p99s["ttft_p99"] == own.best("ttft_p99").amount > 1.2 * usual.best("ttft_p99").amount


def test_the_front_of_cost_and_p99_has_no_candidate_that_another_beats(closed):
    front = closed.pareto("ttft_p99")
    for each in front:
        beaten = [c for c in closed.candidates if c.cost <= each.cost and c.p99s["ttft_p99"] < each.p99s["ttft_p99"]]
        assert not beaten
    assert closed.best in front or any(c.cost == closed.best.cost for c in front)


def test_the_winner_keeps_the_objective_and_one_replica_fewer_does_not():
    found = so.search(
        CHAT, **ASKED, rentals=PRICES, tensor_parallel_sizes=(1,), contenders=2, requests=1_000, replications=2
    )
    best = found.best
    assert best.source == "simulated"
    assert best.p99s["ttft_p99"] <= 0.12
    assert "one replica fewer misses" in best.rests_on
    whole = so.Serving(**{**vars_of(CHAT), "accelerator": best.accelerator, "arrivals": "poisson 40 request/s"})
    if best.replicas > 1:
        fewer = so.Deployment(serving=whole, replicas=best.replicas - 1)
        try:
            answer = so.simulate(fewer, replications=4, requests=64_000)
        except InfeasibleError:
            return
        assert answer.best("ttft_p99").amount > 0.12


def test_prices_on_file_are_named_with_their_day():
    found = so.search(CHAT, **ASKED, accelerators=["h100_sxm"], tensor_parallel_sizes=(1,), contenders=0)
    assert "2026" in found.best.rests_on
    assert "USD" in found.best.rests_on


def test_what_cannot_be_is_said():
    with pytest.raises(InfeasibleError, match=r"no layout keeps the objectives: .*nearly idle"):
        so.search(CHAT, rate="40 request/s", ttft_p99="1 ms", rentals=PRICES, tensor_parallel_sizes=(1,))
    with pytest.raises(InfeasibleError, match="the cheapest costs more than 1 USD/hour"):
        so.search(CHAT, **ASKED, rentals=PRICES, tensor_parallel_sizes=(1,), budget="1 USD/hour")
    with pytest.raises(so.InputError, match="no objective"):
        so.search(CHAT, rate="40 request/s", rentals=PRICES)
    with pytest.raises(so.InputError, match="only for sale"):
        so.search(CHAT, **ASKED, accelerators=["h20"])


def test_a_search_that_was_kept_is_taken_over_and_finds_the_same(tmp_path, monkeypatch):
    layouts = {"rentals": {"h100_sxm": "3 USD/hour"}, "tensor_parallel_sizes": (1,), "contenders": 1}
    runs = {"requests": 1_000, "replications": 2}
    keeping = Keeping(store=tmp_path / "search.db")
    first = so.search(CHAT, **ASKED, **layouts, **runs, keeping=keeping)
    assert first == so.search(CHAT, **ASKED, **layouts, **runs)
    with pytest.raises(InputError, match="--resume"):
        so.search(CHAT, **ASKED, **layouts, **runs, keeping=keeping)
    monkeypatch.setattr(search_module, "simulate", None)
    assert so.search(CHAT, **ASKED, **layouts, **runs, keeping=replace(keeping, resume=True)) == first
