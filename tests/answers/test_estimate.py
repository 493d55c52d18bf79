"""Estimates say what they claim, why they are outside their domain, and whether they are steady."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import secondorder as so
from secondorder.answers.answer import COLUMNS, Answer, ranked, row
from secondorder.answers.estimate import Claim, Estimate, Rung, Steadiness, best_of
from secondorder.cli.options import Output
from secondorder.cli.output import show
from secondorder.errors import UnknownName
from secondorder.plans.constraints import Outcome, check, read_constraint
from secondorder.report.style import dots
from secondorder.report.tables import comparison_grid
from secondorder.validation.comparison import Comparison
from secondorder.validation.verdicts import Verdict, verdict


def rung(order: int, claim: Claim, amount: float = 1.0, **more: str) -> Rung:
    return Rung(metric="wait_mean", amount=amount, unit="s", source="theory", order=order, claim=claim, **more)


TRUTH = Estimate(metric="wait_mean", amount=1.0, unit="s", source="simulated", low=0.98, high=1.02)
UNSETTLED = [
    replace(TRUTH, steadiness=steadiness, unsettled="use at least 7,000 requests")
    for steadiness in Steadiness
    if steadiness is not Steadiness.STEADY
]

# Which estimate to go by


def test_exact_comes_before_an_approximation_of_a_higher_order():
    assert best_of([rung(1, Claim.EXACT), rung(2, Claim.APPROXIMATION)]).order == 1
    assert best_of([rung(1, Claim.EXACT, outside="a trace"), rung(2, Claim.APPROXIMATION)]).order == 2


def test_an_approximation_inside_its_domain_comes_before_one_outside():
    assert best_of([rung(1, Claim.APPROXIMATION), rung(2, Claim.APPROXIMATION, outside="few servers")]).order == 1


claims = st.builds(
    rung, st.integers(0, 2), st.sampled_from(Claim), outside=st.sampled_from(["", "the trace is finite"])
)


@given(st.lists(claims, min_size=1))
def test_a_bound_is_best_only_where_there_is_nothing_but_bounds(ladder):
    best = best_of(ladder)
    assert (best.claim is Claim.BOUND) == all(each.claim is Claim.BOUND for each in ladder)
    rivals = [each for each in ladder if (each.claim, each.outside) == (best.claim, best.outside)]
    assert best.order == max(each.order for each in rivals)


def test_the_bound_of_a_fork_and_join_is_shown_as_one_and_never_preferred():
    forks = so.Queue(arrivals="poisson 0.5 request/s", service="exponential 1 s", servers=8, routing=so.ForkJoin())
    alone, task, joined = so.solve(forks)["response_mean"]
    assert (alone.claim, task.claim, joined.claim) == (Claim.BOUND, Claim.BOUND, Claim.APPROXIMATION)
    assert task.amount < joined.amount
    assert so.solve(forks).best("response_mean") is not task
    assert so.solve(forks).best("response_mean") == joined
    assert "[1, bound] 2 s" in repr(so.solve(forks))
    notes = so.solve(forks).frame.set_index(["metric", "order"])["note"]
    assert notes["response_mean", 1] == "bound: from below, a customer waits for the last of its tasks"


def test_a_task_of_a_fork_and_join_bounds_nothing_where_services_are_not_exponential():
    forks = so.Queue(arrivals="poisson 0.5 request/s", service="deterministic 1 s", servers=2, routing=so.ForkJoin())
    task = so.solve(forks)["response_mean"][1]
    assert task.claim is Claim.APPROXIMATION
    assert task.amount > so.simulate(forks, replications=4, requests=20_000).best("response_mean").high
    assert "last of its tasks" in task.outside


def test_nothing_is_claimed_of_a_customer_alone_who_would_wait_for_a_batch_to_fill():
    alone = so.BatchService(per_batch="4 s", per_item="0.1 s", most=8, wait_to_fill=8)
    filling = so.Queue(arrivals="poisson 0.1 request/s", discipline=alone)
    answer = so.solve(filling)
    assert list(answer) == ["throughput"]
    at_once = replace(filling, discipline=replace(alone, wait_to_fill=1))
    assert so.solve(at_once)["response_mean"][0].amount == pytest.approx(4.1)
    assert so.simulate(filling, replications=2, requests=4_000).best("response_p99").amount > 50


def test_order_0_of_a_queue_lies_below_what_is_simulated():
    queue = so.Queue(arrivals="poisson 0.7 request/s", service="erlang 1 s stages=2")
    solved, found = so.solve(queue), so.simulate(queue, replications=4, requests=20_000)
    zero = [e for e in solved.estimates if e.order == 0]
    assert zero
    assert all(e.claim is Claim.BOUND and e.amount <= found.best(e.metric).high for e in zero)


# What is said of an estimate


def test_each_field_has_its_part_in_the_remark():
    assert rung(1, Claim.EXACT).remark == "exact"
    assert rung(1, Claim.EXACT, note="for any service law").remark == "exact, for any service law"
    assert rung(1, Claim.APPROXIMATION).remark == ""
    assert rung(1, Claim.BOUND, note="from above").remark == "bound: from above"
    assert rung(1, Claim.EXACT, outside="a jump").remark == "outside its domain: a jump"
    assert UNSETTLED[0].remark == "not enough data: use at least 7,000 requests"


def test_a_note_decides_nothing_whatever_it_begins_with():
    for words in ("outside: of town", "not enough data: no", "bound: to happen", "exact: change"):
        said = replace(TRUTH, note=words)
        assert said.in_domain
        assert said.steady
        assert verdict(1.0, said, 0.1) is Verdict.AGREES
        assert row("case", said)[COLUMNS.index("note")] == words


@pytest.mark.parametrize("unsettled", UNSETTLED, ids=lambda each: each.steadiness)
def test_what_is_not_steady_says_so_wherever_it_is_printed(unsettled, capsys):
    word = str(unsettled.steadiness)
    assert word in str(unsettled)
    answer = Answer(scenario="case", estimates=(unsettled,))
    assert word in repr(answer)
    compared = Comparison(
        scenario="case", solved=Answer(scenario="case", estimates=(rung(2, Claim.EXACT),)), simulated=answer, margin=0.1
    )
    (line,) = comparison_grid(compared).rows
    assert line[-1] == f"2: {word}"
    assert f"{word}: use at least 7,000 requests" in "".join(comparison_grid(compared).below)
    show(compared, Output(format="json"))
    closed, simulated = json.loads(capsys.readouterr().out)
    assert closed["verdict"] == word
    assert simulated["note"] == f"{word}: use at least 7,000 requests"
    show(compared, Output(format="csv"))
    assert f"{word}: use at least 7,000 requests" in capsys.readouterr().out


@pytest.mark.parametrize("unsettled", UNSETTLED, ids=lambda each: each.steadiness)
def test_no_verdict_is_given_on_what_is_not_steady(unsettled):
    for formula in (1.0, 5.0):
        assert verdict(formula, unsettled, 0.1) not in (Verdict.AGREES, Verdict.BREAKS)
    bound = read_constraint("wait_mean < 9 s")
    assert check(bound, Answer(scenario="case", estimates=(unsettled,))).outcome is Outcome.UNDECIDED
    assert check(bound, Answer(scenario="case", estimates=(TRUTH,))).outcome is Outcome.MET


def test_what_is_not_steady_is_drawn_hollow_and_without_an_interval():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    unsettled = replace(UNSETTLED[0], low=-math.inf, high=math.inf)
    dots(axes, [1.0, 2.0], [TRUTH, unsettled], 1.0)
    solid, hollow = [line for line in axes.lines if line.get_marker() == "o"]
    assert solid.get_xdata().tolist() == [1.0]
    assert list(hollow.get_xdata()) == [2.0]
    assert hollow.get_markerfacecolor() == "none"
    assert hollow.get_label() == "simulated, not enough data"


# Answers


def test_an_unknown_metric_is_one_line_with_the_near_names():
    answer = so.solve(so.Queue(arrivals="poisson 0.5 request/s", service="exponential 1 s"))
    with pytest.raises(UnknownName, match="wait_p99") as refused:
        answer["wait_p98"]
    assert "\n" not in str(refused.value)


def test_a_ladder_rises_however_its_rungs_come():
    rungs = [rung(2, Claim.EXACT), rung(0, Claim.BOUND), rung(1, Claim.APPROXIMATION)]
    assert [each.order for each in ranked(rungs)] == [0, 1, 2]
    assert [each.order for each in ranked([*rungs, TRUTH])] == [None, 0, 1, 2]


def test_a_constraint_that_only_a_bound_meets_stays_undecided():
    answer = so.solve(so.Queue(arrivals="gamma 0.8 request/s burstiness=0.5", service="lognormal 1 s scv=4"))
    assert answer.best("wait_p99").claim is Claim.BOUND
    checked = check(read_constraint("wait_p99 < 1 s"), answer)
    assert checked.outcome is Outcome.UNDECIDED
    assert "only a bound is known" in checked.doubt
    assert check(read_constraint("wait_mean < 1 year"), answer).outcome is Outcome.MET
