"""The cheapest layout: every candidate is sized, the contenders are simulated, and a dearer one never wins."""

from dataclasses import replace
from importlib import import_module

import pytest

import secondorder as so
from secondorder.errors import InfeasibleError, InputError
from secondorder.studies.points import Keeping

runs_module = import_module("secondorder.studies.layout_runs")

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
    runs = {"requests": 1_000, "replications": 5}
    best = so.search(CHAT, rate="5 request/s", ttft_p99="2 s", **layouts, contenders=1, **runs).best
    alone = replace(CHAT, arrivals="poisson 5 request/s")
    own, usual = (
        so.simulate(so.Deployment(serving=replace(alone, max_num_batched_tokens=budget), replicas=1), **runs)
        for budget in (256, 8192)
    )
    assert best.p99s["ttft_p99"] == own.best("ttft_p99").amount > 1.2 * usual.best("ttft_p99").amount


@pytest.fixture(scope="module")
def regional():
    layouts = {"rentals": {**PRICES, "tpu_v6e": "1 USD/hour"}, "tensor_parallel_sizes": (1, 2)}
    return so.search(CHAT, **ASKED, **layouts, regions={"poland": 1.0, "norway": 1.3, "france": 1.1}, contenders=0)


def test_carbon_is_that_of_a_fleet_by_hand_and_prices_have_their_factor(regional, closed):
    """700 W an H100 and 400 W an A100, 1.8 times for servers, 1.56 for the site, 30 % of it at rest."""
    rated, grid = {"h100_sxm": 700.0, "a100_80gb": 400.0}, {"poland": 0.662, "norway": 0.0302, "france": 0.0562}
    base = {(c.accelerator, c.tensor_parallel_size): c for c in closed.candidates}
    assert len(regional.candidates) == 3 * len(base)
    for each in regional.candidates:
        alike = base[each.accelerator, each.tensor_parallel_size]
        factor = {"poland": 1.0, "norway": 1.3, "france": 1.1}[each.region]
        assert each.cost == pytest.approx(factor * alike.cost)
        assert each.scenario.cost_rate(each.replicas) * 3600 == pytest.approx(each.cost)
        busy = so.solve(alike.scenario).best("utilisation").amount
        watt = each.accelerators * rated[each.accelerator] * 1.8 * 1.56 * (0.3 + 0.7 * busy)
        assert each.carbon == pytest.approx(watt / 1e3 * grid[each.region], rel=1e-2)
        assert each.carbon_per_output_token == pytest.approx(each.carbon / 3600 / 40 / 64, rel=1e-3)
        assert f"{each.region}" in each.rests_on
    assert "its maximum" in regional.refused["1 tpu_v6e in bf16"]


def test_the_front_of_cost_p99_and_carbon_is_that_of_all_pairs(regional):
    def values(each):
        return each.cost, each.p99s["ttft_p99"], each.carbon

    def beats(a, b):
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    every = {values(each) for each in regional.candidates}
    unbeaten = {b for b in every if not any(beats(a, b) for a in every)}
    front = regional.pareto("ttft_p99", "carbon")
    assert {values(each) for each in front} == unbeaten
    assert len(front) == len(unbeaten) > len(regional.pareto("ttft_p99"))
    assert {each.region for each in regional.pareto("carbon")} == {"poland", "norway", "france"}
    assert regional.label(front[0]).endswith(front[0].region)


def test_a_layout_is_simulated_once_for_all_regions(monkeypatch):
    ran = []
    monkeypatch.setattr(runs_module, "simulate", lambda *a, **more: ran.append(a) or so.simulate(*a, **more))
    layouts = {"rentals": {"h100_sxm": "3 USD/hour"}, "tensor_parallel_sizes": (1,), "contenders": 1}
    asked = {"rate": "5 request/s", "ttft_p99": "2 s", "requests": 1_000, "replications": 5}
    found = so.search(CHAT, **asked, **layouts, regions=["norway", "poland"])
    assert len(ran) == 1
    assert [(each.region, each.source) for each in found.candidates] == [
        ("norway", "simulated"),
        ("poland", "simulated"),
    ]


def test_regions_that_cannot_be_are_refused(closed):
    ask = {**ASKED, "rentals": PRICES, "tensor_parallel_sizes": (1,), "contenders": 0}
    with pytest.raises(InputError, match="one basis"):
        so.search(CHAT, **ask, regions=["poland", "us_iowa"])
    with pytest.raises(InputError, match=r"regions\.poland"):
        so.search(CHAT, **ask, regions={"poland": 0.0})
    with pytest.raises(InputError, match="regions"):
        so.search(CHAT, **ask, regions=["atlantis"])
    with pytest.raises(InputError, match="no region"):
        closed.pareto("carbon")
    with pytest.raises(InputError, match="tpot_p99"):
        closed.pareto("tpot_p99")
    dear = so.search(CHAT, **ask, regions={"poland": 1.0, "norway": 50.0}, budget="100 USD/hour")
    assert {each.region for each in dear.candidates} == {"poland"}


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
    with pytest.raises(InfeasibleError, match=r"no layout meets the objectives: .*nearly idle"):
        so.search(CHAT, rate="40 request/s", ttft_p99="1 ms", rentals=PRICES, tensor_parallel_sizes=(1,))
    with pytest.raises(InfeasibleError, match="the cheapest costs more than 1 USD/hour"):
        so.search(CHAT, **ASKED, rentals=PRICES, tensor_parallel_sizes=(1,), budget="1 USD/hour")
    with pytest.raises(so.InputError, match="no objective"):
        so.search(CHAT, rate="40 request/s", rentals=PRICES)
    with pytest.raises(so.InputError, match="only for sale"):
        so.search(CHAT, **ASKED, accelerators=["h20"])


def test_a_search_that_was_kept_is_taken_over_and_finds_the_same(tmp_path, monkeypatch):
    layouts = {"rentals": {"h100_sxm": "3 USD/hour"}, "tensor_parallel_sizes": (1,), "contenders": 1}
    runs = {"requests": 1_000, "replications": 5}
    keeping = Keeping(store=tmp_path / "search.db")
    first = so.search(CHAT, **ASKED, **layouts, **runs, keeping=keeping)
    assert first == so.search(CHAT, **ASKED, **layouts, **runs)
    with pytest.raises(InputError, match="--resume"):
        so.search(CHAT, **ASKED, **layouts, **runs, keeping=keeping)
    monkeypatch.setattr(runs_module, "simulate", None)
    assert so.search(CHAT, **ASKED, **layouts, **runs, keeping=replace(keeping, resume=True)) == first
