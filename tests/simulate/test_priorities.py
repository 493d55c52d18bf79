"""Requests with priorities: who goes first, what each priority gets, and the theory of one server."""

from dataclasses import replace

import numpy as np
import pytest
from random_services import MILLISECOND, by_hand

import secondorder as so
from secondorder.analytic.queues.priority import non_preemptive_mean_wait, preemptive_mean_response
from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.report.tables import answer_grid, markdown, priority_grids
from secondorder.simulate import serving
from secondorder.simulate.kernels.serving.run import record
from secondorder.workloads.priorities import PriorityShares
from secondorder.workloads.requests import Requests

SHARES = {0: 0.3, 4: 0.7}
STEP, TOKENS = 0.01, 8
ONE_SLOT = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 10 request/s",
    lengths=f"input=10 output=geometric {TOKENS}",
    max_num_seqs=1,
    step_time=so.Affine(per_step=STEP, per_prefill_token=0.0, per_decode=0.0),
    enable_prefix_caching=False,
    async_scheduling=False,
    scheduling_policy="priority",
    priorities=SHARES,
)
CHAT = replace(
    ONE_SLOT,
    max_num_seqs=None,
    step_time=so.Roofline(),
    arrivals="poisson 24 request/s",
    lengths="azure_conv_2023",
    max_num_batched_tokens=2048,
)


# One slot is one server


def mean_waits(scenario: so.Serving, runs: int = 40, requests: int = 20_000) -> Floats:
    """A row a run: the mean time from arrival to the first step of each priority, without the first tenth."""
    rows = []
    for replication in range(runs):
        drawn = serving.draw(scenario, requests, 5, replication)
        found = record(scenario, drawn)
        wait = (found.scheduled - found.arrival)[requests // 10 :] * 1e-12
        kind = drawn.priority[requests // 10 :]
        rows.append([wait[kind == level].mean() for level in SHARES])
    return np.array(rows)


def errors(found: Floats, expected: Floats) -> Floats:
    """How many standard errors the means lie off."""
    return np.abs(found.mean(axis=0) - expected) / (found.std(axis=0, ddof=1) / len(found) ** 0.5)


def test_an_engine_of_one_slot_is_a_server_with_priorities() -> None:
    """Service is a step a token: geometric, E[S] = 8 steps, scv 1 - 1/8; load .8. Cobham (1954) is exact."""
    rates, service, scv = np.array([3.0, 7.0]), TOKENS * STEP, 1 - 1 / TOKENS
    waits = mean_waits(ONE_SLOT)
    cobham = non_preemptive_mean_wait(arrival_rate=rates, mean_service=service, service_scv=scv)
    assert errors(waits, cobham).max() < 3.5
    resumed = preemptive_mean_response(arrival_rate=rates, mean_service=service, service_scv=scv) - service
    assert errors(waits, resumed).max() > 20
    assert errors(waits, cobham[::-1]).min() > 20


def test_the_mean_over_all_priorities_is_that_without_any() -> None:
    """Kleinrock's conservation law: whoever goes first, the work that waits is the same."""
    by_urgency, in_turn = (mean_waits(replace(ONE_SLOT, scheduling_policy=each)) for each in ("priority", "fcfs"))
    shares = np.array(list(SHARES.values()))
    gap = by_urgency @ shares - in_turn @ shares  # on the same requests
    assert abs(gap.mean()) < 3.5 * gap.std(ddof=1) / len(gap) ** 0.5
    assert by_urgency[:, 0].mean() < 0.5 * in_turn[:, 0].mean()


# Rules, by hand: a step takes 1 ms


def firsts(priorities: list[int], **changes: object) -> list[float]:
    """First tokens in ms, by both engines."""
    case = by_hand([(0, 4, 3), (1, 4, 1), (1, 4, 1)], **changes)
    requests = replace(case.requests, priorities=priorities)
    events, kernel = (
        np.asarray(each(case.scenario, requests).first_token).tolist()
        for each in (lambda *asked: serving.record(*asked)[1], record)
    )
    assert events == kernel
    return [time / MILLISECOND for time in kernel]


def test_an_urgent_request_overtakes_those_that_wait_if_the_policy_says_so() -> None:
    assert firsts([0, 1, 0], max_num_seqs=1) == [1, 4, 5]
    assert firsts([0, 1, 0], max_num_seqs=1, scheduling_policy="priority") == [1, 5, 4]
    assert firsts([9, 1, 0], max_num_seqs=1, scheduling_policy="priority") == [1, 5, 4]


def test_the_least_urgent_loses_its_blocks_though_it_is_not_the_newest() -> None:
    case = by_hand([(0, 3, 3), (0, 3, 3)], blocks=3, scheduling_policy="priority")
    for priorities, preempted in (([1, 0], [1, 0]), ([0, 1], [0, 1])):
        found = record(case.scenario, replace(case.requests, priorities=priorities))
        assert found.preemptions.tolist() == preempted


def test_victims_of_every_priority_keep_their_places_beside_a_full_engine() -> None:
    """More requests have begun than there are slots: two urgent ones took both slots' blocks."""
    asks = [(0, 8, 9), (0, 8, 9), (3, 8, 9), (3, 8, 9), (6, 8, 9), (6, 8, 9)]
    case = by_hand(asks, blocks=6, max_num_seqs=2, scheduling_policy="priority")
    requests = replace(case.requests, priorities=[2, 2, 1, 1, 0, 0])
    (_, events), kernel = serving.record(case.scenario, requests), record(case.scenario, requests)
    assert kernel.finish.tolist() == list(events.finish)
    assert kernel.preemptions.tolist() == list(events.preemptions)


# What is said and measured


def test_answers_tell_each_priority_its_own_figures() -> None:
    answer = so.simulate(replace(CHAT, goodput={"ttft": "200 ms"}), requests=4_000, replications=6)

    def of(metric: str) -> Estimate:
        (found,) = answer[metric]
        return found

    assert of("ttft_p99_class_0").amount < 0.7 * of("ttft_p99_class_4").amount
    assert of("request_goodput_class_0").amount + of("request_goodput_class_4").amount == pytest.approx(
        of("request_goodput").amount
    )
    assert of("ttft_mean_class_0").unit == "s"
    (grid,) = priority_grids(answer)
    assert grid.header == ["metric", "priority 0", "priority 4", ""]
    assert [row[0] for row in grid.rows][:5] == ["ttft_mean", "ttft_p50", "ttft_p90", "ttft_p99", "tpot_mean"]
    assert "class" not in markdown(answer_grid(answer))
    assert "no closed form" in markdown(grid)
    assert priority_grids(so.simulate(replace(CHAT, priorities=None), requests=500, replications=2)) == []


def test_the_mean_over_all_keeps_its_closed_form_and_the_tail_does_not() -> None:
    solved = so.solve(CHAT)
    second = {each.metric: each for metric in solved for each in solved[metric] if each.order == 2}
    assert not second["ttft_mean"].outside
    assert "most urgent" in second["ttft_p99"].outside
    in_turn = so.solve(replace(CHAT, scheduling_policy="fcfs"))
    assert not next(each for each in in_turn["ttft_p99"] if each.order == 2).outside


def test_a_prefill_cadence_is_outside_the_closed_forms() -> None:
    solved = so.solve(replace(CHAT, priorities=None, scheduling_policy="fcfs", prefill_schedule_interval=3))
    assert "prefill_schedule_interval" in next(each for each in solved["ttft_mean"] if each.order == 2).outside


def test_causes_of_a_service_by_priority_are_told_on_simpy() -> None:
    found = so.partition(CHAT, requests=300)
    assert found.scenario == CHAT.name
    with pytest.raises(InputError, match="by priority"):
        so.partition(CHAT, requests=300, witness="kernel")


def test_priorities_change_neither_arrivals_nor_lengths_nor_prefixes() -> None:
    plain = replace(ONE_SLOT, priorities=None, prefixes="5 tokens=4 share=0.5")
    one, other = (serving.draw(each, 300, 3) for each in (plain, replace(plain, priorities=SHARES)))
    assert one == replace(other, priorities=None)
    assert set(other.priority.tolist()) == {0, 4}


def test_replicas_of_a_deployment_heed_priorities_and_tell_them_apart() -> None:
    deployment = so.Deployment(serving=replace(CHAT, arrivals="poisson 60 request/s"), replicas=2)
    kernel, events = (
        so.simulate(deployment, requests=400, replications=2, witness=witness) for witness in ("kernel", "events")
    )
    assert kernel.estimates == events.estimates
    assert "ttft_p99_class_4" in kernel


@pytest.mark.parametrize(
    "shares", [{}, {0: 0.5}, {0: 1.2, 1: -0.2}, {0.5: 1.0}, {0: float("nan")}, ((0, 0.5), (0, 0.5))]
)
def test_shares_that_are_no_shares_are_refused(shares: object) -> None:
    with pytest.raises(InputError, match="priorities"):
        PriorityShares(shares=shares)


def test_shares_read_from_a_line_and_a_dictionary_are_the_same() -> None:
    text, table = (replace(ONE_SLOT, priorities=each).priorities for each in ("4=0.7 0=0.3", SHARES))
    assert text == table == PriorityShares(shares=SHARES)
    with pytest.raises(InputError, match=r"0=0\.2 1=0\.8"):
        replace(ONE_SLOT, priorities="urgent")


def test_priorities_of_requests_are_integers_one_each() -> None:
    asked = {"arrival": [0.0, 1.0], "input_tokens": [1, 1], "output_tokens": [1, 1]}
    assert Requests(**asked, priorities=[-1, 3])[1:].priority.tolist() == [3]
    for bad in ([1], [0.5, 1]):
        with pytest.raises(InputError, match="priorities"):
            Requests(**asked, priorities=bad)
