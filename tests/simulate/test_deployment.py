"""Claims about several replicas: they are engines, routers do what they say, and every request ends once."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_engine import PLAIN

import secondorder as so
from secondorder.errors import InputError
from secondorder.scenarios.replica_faults import Faults, Kill, RandomFailures, RollingRestart, Slow, ZoneFailure
from secondorder.simulate import serving
from secondorder.simulate.deployment import DeploymentRun, run
from secondorder.simulate.deployment.measures import inside
from secondorder.workloads.requests import Requests

SERVING = so.Serving(
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 40 request/s",
    lengths="input=geometric 600 output=geometric 60",
    max_num_seqs=16,
    step_time="affine 4e-3 per_prefill_token=2e-5 per_decode=3e-4",
    **PLAIN,
)
CLIENTS = st.sampled_from([None, "users 9 think=100 ms", "sessions 4 think=50 ms"])
ROUTERS = ("random", "round-robin", "least-outstanding", "power-of-d 2", "least-tokens", "session")


def deployment(**changes: object) -> so.Deployment:
    return so.Deployment(**{"serving": SERVING, "replicas": 3, **changes})


def drawn(count: int, seed: int = 1) -> Requests:
    return serving.draw(SERVING, count, seed)


# Replicas are engines


def test_one_replica_is_the_service_itself():
    requests = drawn(400)
    alone, whole = run(deployment(replicas=1), requests), serving.run(SERVING, requests)
    for column in ("ttft", "tpot", "e2el", "preemptions"):
        assert alone.requests[column].equals(whole.requests[column])


@pytest.mark.parametrize("router", ROUTERS)
def test_each_replica_serves_what_it_was_sent_as_it_would_alone(router):
    requests = drawn(600)
    found = run(deployment(router=router), requests, seed=3).requests
    for replica, rows in found.groupby("replica"):
        own = rows.index.to_numpy()
        sent = Requests(
            arrival=np.asarray(requests.arrival)[own],
            input_tokens=np.asarray(requests.input_tokens)[own],
            output_tokens=np.asarray(requests.output_tokens)[own],
        )
        again = serving.run(SERVING, sent).requests
        assert again["finish"].to_numpy() == pytest.approx(rows["finish"].to_numpy(), abs=1e-11), replica
        assert again["first_token"].to_numpy() == pytest.approx(rows["first_token"].to_numpy(), abs=1e-11)


def test_replicas_that_are_not_alike_have_their_own_speed():
    slow = run(deployment(replicas=1, others="1 accelerator=a100_80gb"), drawn(10))
    assert len(slow.requests) == 10
    mixed = deployment(serving=replace(SERVING, step_time="roofline"), replicas=1, others="2 accelerator=a100_80gb")
    found = run(mixed, drawn(600)).requests
    speed = found.groupby("replica")["tpot"].mean()
    assert speed[0] < 0.8 * min(speed[1], speed[2])
    taken = found["replica"].value_counts()
    assert taken[0] > taken[1]  # the least outstanding finds the fast one


# Routers


def loads(found, place, replicas=3):
    """Outstanding requests of each replica when a request comes, and their prompt tokens, counted from the records."""
    before = found.iloc[:place]
    here = before[before["ended"] > found["arrival"].iloc[place]]
    number = np.bincount(here["replica"], minlength=replicas)
    return number, np.bincount(here["replica"], weights=here["input_tokens"], minlength=replicas)


@pytest.mark.parametrize(("router", "which"), [("least-outstanding", 0), ("least-tokens", 1)])
def test_the_least_loaded_replica_is_picked(router, which):
    found = run(deployment(router=router), drawn(500)).requests
    for place in range(len(found)):
        load = loads(found, place)[which]
        assert load[found["replica"].iloc[place]] == load.min()


def test_of_two_choices_the_most_loaded_replica_is_never_picked():
    found = run(deployment(router="power-of-d 2"), drawn(500)).requests
    for place in range(len(found)):
        load, picked = loads(found, place)[0], found["replica"].iloc[place]
        assert (load < load[picked]).sum() <= 1  # of three replicas one was not asked


def test_round_robin_takes_turns_and_random_replicas_are_equally_likely():
    assert run(deployment(router="round-robin"), drawn(9)).requests["replica"].tolist() == [0, 1, 2] * 3
    shares = run(deployment(router="random"), drawn(1_500)).requests["replica"].value_counts()
    assert sum((shares - 500) ** 2 / 500) < 13.8  # chi-square of 2 degrees: once in 1,000


def test_old_reports_make_requests_herd():
    fresh, stale = (run(deployment(report_interval=interval), drawn(3_000)).requests for interval in ("0 s", "2 s"))
    assert stale["ttft"].quantile(0.99) > 2 * fresh["ttft"].quantile(0.99)
    assert longest_streak(stale["replica"]) > 3 * longest_streak(fresh["replica"])
    blind = run(deployment(router="random"), drawn(3_000)).requests
    assert stale["ttft"].quantile(0.99) > blind["ttft"].quantile(0.99)  # worse than not to look at all


def longest_streak(replica) -> int:
    changes = np.flatnonzero(np.diff(replica.to_numpy()))
    return int(np.diff(changes, prepend=-1, append=len(replica) - 1).max())


def shared(count: int, prefixes: int = 30, blocks: int = 40) -> Requests:
    """Requests that begin with one of a few prefixes."""
    chance = np.random.default_rng(5)
    which = chance.integers(prefixes, size=count)
    return Requests(
        arrival=np.cumsum(chance.exponential(1 / 40, count)),
        input_tokens=np.full(count, 16 * blocks + 100),
        output_tokens=chance.geometric(1 / 60, count),
        hash_ids=tuple(np.arange(blocks) + 1_000 * k for k in which),
        hash_block=16,
    )


@pytest.mark.parametrize("router", ["prefix-aware", "session 8"])
def test_a_router_that_knows_prefixes_finds_more_of_them_cached(router):
    caching = replace(SERVING, enable_prefix_caching=True, num_gpu_blocks=2_000)
    requests = shared(1_500, prefixes=60)
    hits = {
        name: run(deployment(serving=caching, router=name), requests).requests["cached_tokens"].sum()
        for name in (router, "round-robin")
    }
    assert hits[router] > 1.2 * hits["round-robin"]


def test_a_session_stays_with_its_replica():
    caching = replace(SERVING, enable_prefix_caching=True)
    found = run(deployment(serving=caching, router="session 8"), requests := shared(300)).requests
    session = [int(ids[7]) for ids in requests.hash_ids]
    assert (found.groupby(session)["replica"].nunique() == 1).all()


# Faults


def test_what_a_killed_replica_had_is_lost_retried_or_moved():
    fates = {}
    for after in ("lost", "retried", "moved"):
        found = run(deployment(faults="kill 1 at=3 s restart=2 s", after_failure=after, retries=1), drawn(400))
        fates[after] = Counter(found.requests["fate"])
        assert found.downtime == pytest.approx(2.0)
    assert fates["lost"]["lost"] > 5
    assert fates["retried"] == fates["moved"] == Counter(served=400)


def test_a_moved_request_keeps_its_first_token_and_a_retried_one_does_not():
    faults, requests = Faults(events=[Kill(replica=1, at="3 s", restart="2 s")]), drawn(400)
    moved, retried, calm = (
        run(deployment(after_failure=after, retries=1, faults=f), requests).requests
        for after, f in (("moved", faults), ("retried", faults), ("lost", None))
    )
    hit = (retried["attempts"] == 2) & (calm["first_token"] < 3) & (calm["arrival"] < 3)
    assert hit.sum() > 3
    assert (moved["first_token"][hit] < 3.1).all()
    assert (retried["first_token"][hit] > 3.1).all()


def test_a_replica_starts_again_with_an_empty_cache():
    caching = replace(SERVING, enable_prefix_caching=True)
    one = deployment(serving=caching, replicas=1, after_failure="moved")
    requests = shared(300, prefixes=1)
    warm, cold = run(one, requests), run(replace(one, faults="kill 0 at=4 s restart=1 s"), requests)
    assert (warm.requests["cached_tokens"] == 0).sum() < (cold.requests["cached_tokens"] == 0).sum()


def test_a_zone_is_replicas_that_fail_at_the_same_time():
    """The same as each killed by a line of its own, and the requests of both are lost."""
    zone, kills = "zone 0-1 at=3 s restart=2 s", "kill 0 at=3 s restart=2 s; kill 1 at=3 s restart=2 s"
    found, expected = (run(deployment(faults=faults, after_failure="lost"), drawn(400)) for faults in (zone, kills))
    assert found.requests.equals(expected.requests)
    assert found.downtime == pytest.approx(4.0)
    lost = found.requests[found.requests["fate"] == "lost"]
    assert set(lost["replica"]) == {0, 1}
    assert str(Faults(events=[zone])) == zone


def test_a_zone_of_replicas_that_do_not_exist_or_cannot_be_read_is_refused():
    with pytest.raises(InputError, match="replica 9"):
        deployment(faults="zone 0,9 at=3 s restart=2 s")
    with pytest.raises(InputError, match="numbers of replicas"):
        Faults(events=["zone east at=3 s restart=2 s"])


def test_requests_wait_at_the_router_while_nothing_is_up():
    found = run(deployment(replicas=1, faults="kill 0 at=1 s restart=5 s", after_failure="moved"), drawn(60)).requests
    assert (found["fate"] == "served").all()
    away = found[found["arrival"].between(1.1, 5.9)]
    assert (away["first_token"] > 6).all()


def test_a_rolling_restart_loses_nothing():
    found = run(deployment(faults="rolling 2 s restart=1 s"), drawn(600))
    assert (found.requests["fate"] == "served").all()
    assert found.downtime == pytest.approx(3.0)
    assert found.wasted == {}


def test_a_slow_replica_takes_so_many_times_as_long_and_recovers():
    one = replace(SERVING, arrivals="deterministic 1 request/s", lengths="input=64 output=101")
    requests = serving.draw(one, 12)
    found = run(deployment(serving=one, replicas=1, faults="slow 0 at=3.5 s lasts=4 s factor=3"), requests).requests
    assert found["tpot"].iloc[4] == pytest.approx(3 * found["tpot"].iloc[0], rel=0.2)
    assert found["tpot"].iloc[11] == pytest.approx(found["tpot"].iloc[0], rel=1e-9)


def test_a_full_replica_refuses_and_retries_come_after_their_pause():
    requests = drawn(600)
    full = run(deployment(replicas=1, max_outstanding=4), requests).requests
    assert set(full["fate"]) == {"served", "refused"}
    again = run(deployment(replicas=1, max_outstanding=4, retries=3, backoff="500 ms"), requests).requests
    assert (again["fate"] == "served").sum() > (full["fate"] == "served").sum()
    second = again[(again["attempts"] == 2) & (again["fate"] == "served")]
    assert (second["e2el"] > 0.25).all()


def test_a_request_that_times_out_is_gone_at_the_end_of_the_step():
    withdrawn, vain = (
        run(deployment(replicas=1, timeout="500 ms", withdraw=withdraw), drawn(400)) for withdraw in (True, False)
    )
    out = withdrawn.requests[withdrawn.requests["fate"] == "timed out"]
    assert len(out) > 20
    assert (out["ended"] - out["arrival"]).between(0.5, 0.6).all()
    assert vain.computed > withdrawn.computed  # the rest is computed in vain
    assert inside(vain.requests, np.array([1e9]))[0] == 0


# Autoscaling


def ramp(count: int) -> Requests:
    """Few requests, then many, then few."""
    chance = np.random.default_rng(3)
    rate = np.where((np.arange(count) > count // 8) & (np.arange(count) < 7 * count // 8), 60.0, 4.0)
    return Requests(
        arrival=np.cumsum(chance.exponential(1 / rate)),
        input_tokens=chance.geometric(1 / 600, count),
        output_tokens=chance.geometric(1 / 60, count),
    )


def test_an_autoscaler_follows_the_load_and_costs_less_than_all_replicas():
    rule = "6 most=5 start=2 s window=2 s cool_down=5 s"
    found = run(deployment(replicas=1, autoscaler=rule), ramp(1_600))
    requests = found.requests
    assert (requests["fate"] == "served").all()
    crowded = requests[requests["arrival"].between(requests["arrival"][600], requests["arrival"][1_300])]
    assert crowded["replica"].nunique() >= 3
    assert requests["replica"].iloc[:50].nunique() == 1
    assert found.paid < 0.9 * 5 * requests["ended"].max()
    late = requests["replica"].iloc[-60:]
    assert late.nunique() < crowded["replica"].nunique()  # those that were spare were stopped


def test_a_slower_start_makes_the_ramp_worse():
    p99 = [
        run(deployment(replicas=1, autoscaler=f"6 most=5 start={start} window=2 s"), ramp(1_200)).requests["ttft"]
        for start in ("0 s", "8 s")
    ]
    assert p99[1].quantile(0.99) > 1.5 * p99[0].quantile(0.99)


def test_an_autoscaler_that_is_content_changes_nothing():
    rule = "1000 most=3 least=3"
    with_it, without = run(deployment(autoscaler=rule), drawn(300)), run(deployment(), drawn(300))
    assert with_it.requests.equals(without.requests)
    assert with_it.paid == pytest.approx(3 * with_it.requests["ended"].max())


def test_from_zero_the_first_request_waits_for_the_start():
    requests = drawn(30)
    one = deployment(replicas=1, autoscaler="6 most=1 least=0 start=20 s window=1 s cool_down=0 s")
    gap = Requests(
        arrival=np.asarray(requests.arrival) + np.where(np.arange(30) < 15, 0, 60),
        input_tokens=requests.input_tokens,
        output_tokens=requests.output_tokens,
    )
    found = run(one, gap).requests
    assert found["ttft"].iloc[15] == pytest.approx(21, abs=1.5)
    assert found["ttft"].iloc[0] < 1


# Conservation under any schedule


@st.composite
def schedules(draw):
    at, span = (st.just(0.0) | st.floats(1e-9, 6.0)), st.floats(0.01, 4.0)
    event = st.one_of(
        st.builds(lambda k, a, r: Kill(replica=k, at=f"{a} s", restart=f"{r} s"), st.integers(0, 2), at, span),
        st.builds(
            lambda k, a, r, f: Slow(replica=k, at=f"{a} s", lasts=f"{r} s", factor=f),
            st.integers(0, 2),
            at,
            span,
            st.floats(1, 8),
        ),
        st.builds(
            lambda z, a, r: ZoneFailure(zone=z, at=f"{a} s", restart=f"{r} s"),
            st.sampled_from(["0-1", "1,2", "0-2"]),
            at,
            span,
        ),
        st.builds(lambda a, r: RollingRestart(at=f"{a} s", restart=f"{r} s"), at, span),
        st.builds(lambda m, r: RandomFailures(mtbf=f"{m} s", restart=f"{r} s"), st.floats(1, 10), span),
    )
    return Faults(events=tuple(draw(st.lists(event, min_size=1, max_size=4))))


def computed_for(found: DeploymentRun) -> int:
    served = found.requests[found.requests["fate"] == "served"]
    return int((served["input_tokens"] - served["cached_tokens"] + served["output_tokens"] - 1).sum())


@settings(max_examples=60, deadline=None)
@given(
    faults=schedules(),
    router=st.sampled_from(ROUTERS),
    after=st.sampled_from(["lost", "retried", "moved"]),
    timeout=st.sampled_from([None, "300 ms", "2 s"]),
    withdraw=st.booleans(),
    retries=st.integers(0, 2),
    limit=st.sampled_from([None, 6]),
    seed=st.integers(0, 1_000),
    ahead=st.booleans(),
    autoscaler=st.sampled_from([None, "3 most=4 least=0 start=500 ms window=1 s cool_down=1 s"]),
    clients=CLIENTS,
)
def test_every_request_ends_once_and_every_token_is_counted(
    faults, router, after, timeout, withdraw, retries, limit, seed, ahead, autoscaler, clients
):
    scenario = deployment(
        serving=replace(SERVING, async_scheduling=ahead),
        faults=faults,
        router=router,
        after_failure=after,
        timeout=timeout,
        withdraw=withdraw,
        retries=retries,
        max_outstanding=limit,
        backoff="200 ms",
        autoscaler=autoscaler,
        clients=clients,
    )
    found = run(scenario, drawn(120, seed), seed=seed)
    requests = found.requests
    assert len(requests) == 120
    assert set(requests["fate"]) <= {"served", "refused", "timed out", "lost"}
    assert (requests["ended"] >= requests["arrival"]).all()
    assert requests["attempts"].between(1, retries + 1 if after != "moved" or timeout else 1_000).all()
    served = requests["fate"] == "served"
    assert requests.loc[served, ["ttft", "e2el"]].notna().all(axis=None)
    assert requests.loc[~served, "ttft"].isna().all()
    assert (requests.loc[served, "first_token"] <= requests.loc[served, "finish"]).all()
    assert found.delivered == computed_for(found)
    assert found.computed == found.delivered + sum(found.wasted.values())  # nothing is preempted here
    assert all(waste >= 0 for waste in found.wasted.values())
    assert found.blocks_held == 0


@settings(max_examples=40, deadline=None)
@given(
    faults=schedules(),
    router=st.sampled_from(["prefix-aware 50", "session 8", "least-tokens"]),
    after=st.sampled_from(["lost", "retried", "moved"]),
    timeout=st.sampled_from([None, "500 ms"]),
    retries=st.integers(0, 2),
    blocks=st.sampled_from([60, 120, 1_000]),
    caching=st.booleans(),
    ahead=st.booleans(),
    autoscaler=st.sampled_from([None, "3 most=4 start=500 ms window=1 s cool_down=1 s"]),
    clients=CLIENTS,
)
def test_blocks_and_tokens_balance_where_requests_preempt_and_share_prefixes(
    faults, router, after, timeout, retries, blocks, caching, ahead, autoscaler, clients
):
    router = "least-tokens" if "prefix" in router and not caching else router
    serving = replace(
        SERVING,
        async_scheduling=ahead,
        enable_prefix_caching=caching,
        num_gpu_blocks=blocks,
        max_model_len=900,
    )
    scenario = deployment(
        serving=serving, faults=faults, router=router, after_failure=after, timeout=timeout, retries=retries,
        backoff="200 ms", autoscaler=autoscaler, clients=clients,
    )  # fmt: skip
    requests = shared(80, prefixes=10, blocks=20)
    requests = replace(requests, output_tokens=np.minimum(requests.output_tokens, 300))
    found = run(scenario, requests)
    assert set(found.requests["fate"]) <= {"served", "refused", "timed out", "lost"}
    assert (found.requests["ended"] >= found.requests["arrival"]).all()
    assert found.delivered == computed_for(found)
    assert found.recomputed >= 0
    assert found.recomputed == 0 or found.requests["preemptions"].sum() > 0 or sum(found.wasted.values()) > 0
    assert found.blocks_held == 0


def test_the_same_seed_gives_the_same_run():
    scenario = deployment(router="power-of-d 2", faults="random 5 s restart=1 s", after_failure="moved")
    one, same = (run(scenario, drawn(200), seed=2).requests for _ in range(2))
    assert one.equals(same)
    assert not one.equals(run(scenario, drawn(200), seed=3).requests)
