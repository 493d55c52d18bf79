"""Claims about clients who wait for their answers: closed loops and conversations over several replicas."""

import heapq
from dataclasses import replace

import numpy as np
import pytest
from plain_engine import PLAIN

import secondorder as so
from secondorder.errors import InputError
from secondorder.simulate import serving
from secondorder.simulate.closed_loop import run_loop
from secondorder.simulate.deployment import run
from secondorder.simulate.deployment.waiting import plan_of
from secondorder.workloads.requests import Requests

STEP = 4e-3
SERVING = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 40 request/s",
    lengths="input=geometric 300 output=geometric 20",
    max_num_seqs=1,
    step_time=f"affine {STEP} per_prefill_token=0 per_decode=0",
    **{**PLAIN, "max_num_batched_tokens": 131_072},
)
"""One request at a time, which takes as many steps as it has tokens to bring out."""
CACHING = replace(SERVING, enable_prefix_caching=True, max_num_seqs=16)


def deployment(clients: str, **changes: object) -> so.Deployment:
    return so.Deployment(**{"serving": SERVING, "replicas": 3, "router": "round-robin", "clients": clients, **changes})


def drawn(count: int, scenario: so.Serving = SERVING) -> Requests:
    return serving.draw(scenario, count, 1)


def naive(outputs, thoughts, ready, follows):
    """Three servers in turn, first come, first served: ``ready`` are the first wakes, ``follows`` who wakes after."""
    free, found, events = [0.0] * 3, [], [(when, "wakes", who) for when, who in ready]
    heapq.heapify(events)
    while events and len(found) < len(outputs):
        now, what, who = heapq.heappop(events)
        if what == "wakes":
            server = len(found) % 3
            free[server] = max(now, free[server]) + STEP * outputs[follows.ask(who)]
            found.append((now, free[server]))
            heapq.heappush(events, (free[server], "is answered", who))
        elif (thought := follows.think(who, thoughts)) is not None:
            heapq.heappush(events, (now + thought, "wakes", who))
    return np.array(found)


class InOrder:
    """Users take the next request, and the next think time."""

    def __init__(self, users: int) -> None:
        self.asked, self.begun = -1, users - 1

    def ask(self, who: int) -> int:
        self.asked += 1
        return self.asked

    def think(self, who: int, thoughts: np.ndarray) -> float:
        self.begun += 1
        return thoughts[self.begun]


class Turns:
    """A session takes its own turns, one after the other."""

    def __init__(self, session: np.ndarray) -> None:
        self.session, self.next = session, {int(who): int(np.argmax(session == who)) for who in set(session)}

    def ask(self, who: int) -> int:
        self.next[who] += 1
        return self.next[who] - 1

    def think(self, who: int, thoughts: np.ndarray) -> float | None:
        place = self.next[who]
        return thoughts[place] if place < len(self.session) and self.session[place] == who else None


@pytest.mark.parametrize("clients", ["users 5 think=200 ms", "sessions 4 think=200 ms"])
def test_a_loop_over_servers_in_turn_gives_the_same_times(clients):
    requests, scenario = drawn(400), deployment(clients)
    found, plan = run(scenario, requests, seed=2).requests, plan_of(scenario, requests, 2, 0)
    thoughts = plan.thoughts * 1e-12
    if plan.sessions:
        follows = Turns(plan.session)
        ready = [(float(thoughts[place]), int(plan.session[place])) for place in plan.begins]
    else:
        follows = InOrder(5)
        ready = [(float(thought), user) for user, thought in enumerate(thoughts[:5])]
    expected = naive(np.asarray(requests.output_tokens), thoughts, ready, follows)
    assert found["arrival"].to_numpy() == pytest.approx(expected[:, 0], abs=1e-9)
    assert found["finish"].to_numpy() == pytest.approx(expected[:, 1], abs=1e-9)


@pytest.mark.parametrize("think", ["0 s", "300 ms"])
def test_users_of_one_replica_are_a_closed_loop(think):
    service = replace(SERVING, max_num_seqs=4, step_time="roofline")
    loop = run_loop(so.ClosedLoop(serving=service, max_concurrency=12, think_time=think), 200, seed=1, witness="events")
    users = deployment(f"users 12 think={think}", serving=service, replicas=1)
    found = run(users, serving.draw(service, 200, 1), seed=1).requests
    order = np.argsort(loop.sent, kind="stable")
    assert (found["arrival"].to_numpy() == loop.sent[order] * 1e-12).all()
    assert (found["first_token"].to_numpy() == loop.first_token[order] * 1e-12).all()
    assert (found["finish"].to_numpy() == loop.finish[order] * 1e-12).all()


def test_no_more_requests_are_inside_than_there_are_users():
    found = run(deployment("users 7", router="least-outstanding"), drawn(300)).requests
    arrival, ended = found["arrival"].to_numpy(), np.sort(found["ended"].to_numpy())
    inside = np.arange(1, 301) - np.searchsorted(ended, arrival, side="right")
    assert inside.max() == 7
    assert (inside[np.diff(arrival, append=np.inf) > 0] == 7).all()  # each answer is followed at once


def conversations():
    scenario = deployment("sessions 4 think=100 ms", serving=CACHING, router="session 1")
    return run(scenario, drawn(300, CACHING), seed=3)


def test_a_turn_begins_with_all_that_was_said_before_it():
    found = conversations()
    for _, turns in found.requests.groupby("session"):
        said = (turns["input_tokens"] + turns["output_tokens"]).to_numpy()
        assert (turns["input_tokens"].to_numpy()[1:] > said[:-1]).all()
        assert (turns["arrival"].to_numpy()[1:] > turns["ended"].to_numpy()[:-1]).all()
        assert turns["replica"].nunique() == 1
    shares = found.requests["session"].value_counts().mean()
    assert 3 < shares < 5  # 300 turns in some 75 sessions: 4 +- 3 times 0.4


def test_a_turn_finds_the_blocks_of_its_session_and_the_answers_too():
    """All but the last token was computed, and the blocks that it fills are there where the cache has room."""
    found = conversations()
    for _, turns in found.requests.groupby("session"):
        said = (turns["input_tokens"] + turns["output_tokens"]).to_numpy()[:-1]
        assert turns["cached_tokens"].tolist() == [0, *((said - 1) // 16 * 16).tolist()]
    assert found.blocks_held == 0


def test_sessions_that_are_not_kept_together_find_less():
    aware, blind = (
        run(deployment("sessions 4 think=100 ms", serving=CACHING, router=router), drawn(300, CACHING)).requests
        for router in ("prefix-aware 1", "round-robin")
    )
    assert aware["cached_tokens"].sum() > 1.5 * blind["cached_tokens"].sum()


def test_a_turn_without_room_for_the_session_begins_anew():
    short = replace(CACHING, max_model_len=900, lengths="input=400 output=20")
    found = run(deployment("sessions 6 think=10 ms", serving=short), drawn(200, short)).requests
    assert set(found["input_tokens"]) == {400, 820}
    assert (found["fate"] == "served").all()


def test_a_session_goes_on_when_a_turn_was_not_answered():
    found = run(deployment("sessions 5 think=50 ms", timeout="100 ms"), drawn(300)).requests
    assert {"served", "timed out"} == set(found["fate"])
    assert len(found) == 300
    assert (found.groupby("session")["arrival"].diff().dropna() > 0).all()


def test_steady_figures_leave_out_the_end_in_which_no_session_begins():
    """Sessions of 2 turns have ``E[n^2] / E[n] = 3``: the rate of 1,000 turns varies by ``sqrt(3 / 1000)`` or 5.5 %."""
    scenario = deployment("sessions 2 think=50 ms", serving=CACHING, replicas=2)
    answer = so.simulate(scenario, seed=1, replications=2, requests=600)
    assert answer.best("prefix_hit_rate").amount > 0.1
    assert answer.best("request_throughput").amount == pytest.approx(40, rel=4 * 0.055)
    assert answer.how.endswith("by events on SimPy, for clients who wait for their answers")


def test_the_closed_form_of_users_is_that_of_a_loop_on_each_replica():
    users = deployment("users 24 think=1 s", serving=replace(SERVING, max_num_seqs=16, step_time="roofline"))
    loop = so.ClosedLoop(serving=users.serving, max_concurrency=8, think_time="1 s")
    of_all, one = so.solve(users), so.solve(loop)
    assert of_all.best("request_throughput").amount == pytest.approx(3 * one.best("throughput").amount)
    assert of_all.best("ttft_mean").amount == one.best("ttft_mean").amount
    assert "each replica has its own users" in of_all.best("request_throughput").outside


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serving": replace(CACHING, prefixes="9 tokens=64")}, "leave out the prefixes"),
        ({"clients": "sessions 0.5"}, "turns"),
        ({"clients": "readers 5"}, "clients"),
    ],
)
def test_what_clients_cannot_be_is_said(changes, message):
    with pytest.raises(InputError, match=message):
        deployment(**{"clients": "sessions 4", **changes})


def test_recorded_requests_do_not_wait_and_no_rate_is_asked_of_users():
    requests = drawn(50)
    shifted = replace(requests, arrival=np.asarray(requests.arrival) - requests.arrival[0])
    trace = so.Trace(name="recorded", requests=shifted)
    with pytest.raises(InputError, match=r"arrivals=trace\.arrivals"):
        deployment("users 4", serving=replace(SERVING, arrivals=trace, lengths=None))
    with pytest.raises(InputError, match="whose rate follows from the answers"):
        so.MaxRate(deployment=deployment("users 4"), ttft_p99="500 ms")
