"""Prefill and decode apart: the fewest of both kinds, sized by closed forms and corrected by simulation."""

from dataclasses import replace
from importlib import import_module
from itertools import product

import pytest

import secondorder as so
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.errors import InputError, Unstable
from secondorder.studies.points import Keeping

runs_module = import_module("secondorder.studies.layout_runs")

CODE = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 1 request/s",
    lengths="input=3000 output=geometric 64",
    max_num_seqs=32,
)
ASKED = {"rate": "12 request/s", "ttft_p99": "500 ms", "tpot_p99": "10 ms"}
LAYOUTS = {"rentals": {"h100_sxm": "3 USD/hour"}, "tensor_parallel_sizes": (1,), "splits": "50 GB/s latency=10 us"}


@pytest.fixture(scope="module")
def closed():
    return so.search(CODE, **ASKED, **LAYOUTS, contenders=0)


def apart(found):
    (split,) = [each for each in found.candidates if each.split is not None]
    return split


def keeps(prefill, decode):
    system = so.Disaggregated(
        serving=replace(CODE, arrivals="poisson 12 request/s"),
        prefill_replicas=prefill,
        decode_replicas=decode,
        link="50 GB/s latency=10 us",
    )
    try:
        answer = so.solve(system)
    except Unstable:
        return False
    return answer.best("ttft_p99").amount <= 0.5 and answer.best("tpot_p99").amount <= 0.01


def test_the_closed_form_takes_the_fewest_replicas_of_all_pairs(closed):
    split = apart(closed)
    able = [pair for pair in product(range(1, 5), range(1, 3)) if keeps(*pair)]
    assert (split.split.prefill_replicas, split.split.decode_replicas) == min(able, key=lambda pair: (sum(pair), pair))
    assert split.prefill_replicas > 1
    assert split.replicas == sum(min(able, key=sum))
    assert split.cost == pytest.approx(3 * split.replicas)
    assert closed.label(split).startswith(f"{split.prefill_replicas}+{split.split.decode_replicas} x 1 h100_sxm")
    assert "picked at random" in split.rests_on


def test_the_work_of_a_split_is_that_of_both_kinds(closed):
    split = apart(closed)
    answer = so.solve(split.split)
    parts = (("prefill", split.split.prefill_replicas), ("decode", split.split.decode_replicas))
    work = sum(count * 12 / answer.best(f"{kind}_saturation_rate").amount for kind, count in parts)
    assert split.utilisation == pytest.approx(work / split.replicas)


def test_a_split_that_is_simulated_has_the_p99s_of_its_runs_and_no_replica_to_spare():
    asked = {"rate": "20 request/s", "ttft_p99": "5 s", "tpot_p99": "50 ms"}
    found = so.search(CODE, **asked, **LAYOUTS, contenders=2, requests=400, replications=3)
    best = apart(found)
    assert best.source == "simulated"
    runs = (
        runs_module.simulate_disaggregated(best.split, replications=3, requests=400 * 2**k).best("ttft_p99").amount
        for k in range(5)
    )
    assert best.p99s["ttft_p99"] in runs
    with pytest.raises(Unstable):
        so.solve(replace(best.split, prefill_replicas=best.prefill_replicas - 1))
    assert "one replica fewer of either kind misses or cannot carry the load" in best.rests_on


@pytest.mark.parametrize(("first", "later", "pair"), [(2.2, 0.025, (5, 3)), (0.9, 0.009, (2, 1))])
def test_the_simulation_sets_both_kinds(monkeypatch, first, later, pair):
    """Made-up p99s that fall as one over the replicas of their kind; the closed form starts elsewhere."""

    def fake(system, **_):
        p99s = {"ttft_p99": first / system.prefill_replicas, "tpot_p99": later / system.decode_replicas}
        rows = [Estimate(metric=m, amount=a, low=a, high=a, unit="s", source="made up") for m, a in p99s.items()]
        return Answer(scenario="made up", estimates=tuple(rows))

    monkeypatch.setattr(runs_module, "simulate_disaggregated", fake)
    monkeypatch.setattr(runs_module, "simulate", fake_of_none)
    found = so.search(CODE, **ASKED, **LAYOUTS, contenders=2)
    best = apart(found)
    assert "in the simulation" in found.refused["1 h100_sxm in bf16"]
    assert (best.split.prefill_replicas, best.split.decode_replicas) == pair
    assert best.cost == 3 * sum(pair)
    assert best.p99s["tpot_p99"] == pytest.approx(later / pair[1])


def fake_of_none(*_, **__):
    raise Unstable("not of interest here")


def test_a_split_that_was_kept_is_taken_over(tmp_path, monkeypatch):
    keeping = Keeping(store=tmp_path / "search.db")
    more = {"contenders": 2, "requests": 400, "replications": 2}
    asked = {"rate": "5 request/s", "tpot_p99": "50 ms"}
    first = so.search(CODE, **asked, **LAYOUTS, **more, keeping=keeping)
    assert apart(first).source == "simulated"
    monkeypatch.setattr(runs_module, "simulate_disaggregated", None)
    assert so.search(CODE, **asked, **LAYOUTS, **more, keeping=replace(keeping, resume=True)) == first


def test_what_has_no_split_says_why():
    whole = so.search(CODE, rate="12 request/s", e2el_p99="5 s", **LAYOUTS, contenders=0)
    assert "e2el_p99" in whole.refused["1 h100_sxm in bf16, prefill apart"]
    bursts = so.search(replace(CODE, arrivals="gamma 1 request/s burstiness=0.3"), **ASKED, **LAYOUTS, contenders=0)
    assert "expected Poisson" in bursts.refused["1 h100_sxm in bf16, prefill apart"]
    with pytest.raises(InputError, match="splits"):
        so.search(CODE, **ASKED, **{**LAYOUTS, "splits": "50 GB"})
