"""Recorded training steps: the replay against steps made here by a plain loop, and against published results."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secondorder as so
from secondorder.analytic.training.step_replay import replayed_ends, replayed_steps
from secondorder.errors import FileError
from secondorder.simulate.training.step_replay import simulated_steps
from secondorder.workloads.step_graph import COMPUTATIONS
from secondorder.workloads.step_trace import StepTrace, step_trace

TRACES = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "straggler_traces"


def one_forward_one_backward(stage, stages, microbatches):
    ahead = min(stages - stage, microbatches)
    order = [("forward", i) for i in range(ahead)]
    for i in range(microbatches):
        order.append(("backward", i))
        if ahead + i < microbatches:
            order.append(("forward", ahead + i))
    return order


def made_step(seconds, stages, replicas, microbatches, delay=0.0):
    """Rows of one step: a plain loop over stages until nothing moves; ``seconds(kind, replica, stage, i)``."""
    rows, end = [], {}
    done = {(r, s): 0 for r in range(replicas) for s in range(stages)}

    def add(kind, r, s, i, start, finish, chunk=-1, position=-1):
        end[kind, r, s, i] = finish
        rows.append((r, s, kind, i, start, finish - start, chunk, position))

    for s in range(stages):
        gather = max(seconds("params-all-gather", r, s, 0) for r in range(replicas))
        for r in range(replicas):
            add("params-all-gather", r, s, 0, 0.0, gather, 0)
    free = {(r, s): 0.0 for r in range(replicas) for s in range(stages)}
    moved = True
    while moved:
        moved = False
        for r, s in done:
            order = one_forward_one_backward(s, stages, microbatches)
            if done[r, s] == len(order):
                continue
            kind, i = order[done[r, s]]
            peer = s - 1 if kind == "forward" else s + 1
            ready = max(free[r, s], end["params-all-gather", r, s, 0])
            if 0 <= peer < stages:
                if (f"{kind}-compute", r, peer, i) not in end:
                    continue
                posted = end.get((f"{kind}-compute", r, s, i - 1), 0.0)
                if kind == "backward" and i == 0 and done[r, s] >= 2:
                    posted = end["forward-compute", r, s, order[done[r, s] - 2][1]]
                sent = max(end[f"{kind}-compute", r, peer, i], end.get((f"{kind}-send", r, peer, i - 1), 0.0))
                arrived = max(posted, sent) + seconds(f"{kind}-recv", r, s, i)
                add(f"{kind}-recv", r, s, i, posted, arrived)
                add(f"{kind}-send", r, peer, i, sent, arrived)
                ready = max(ready, arrived)
            start = ready + delay
            add(f"{kind}-compute", r, s, i, start, start + seconds(f"{kind}-compute", r, s, i), 0, s)
            free[r, s] = start + seconds(f"{kind}-compute", r, s, i)
            done[r, s] += 1
            moved = True
    at = dict(free)
    scattered = {}
    for r, s in at:
        add("gc", r, s, 0, at[r, s], at[r, s])
        scattered[r, s] = at[r, s]
    for s in range(stages):
        latest = max(scattered[r, s] for r in range(replicas))
        for r in range(replicas):
            add("grads-reduce-scatter", r, s, 0, scattered[r, s], latest + seconds("grads-reduce-scatter", 0, s, 0), 0)
            at[r, s] = end["grads-reduce-scatter", r, s, 0]
    latest = max(at.values())
    for r, s in at:
        add("optimizer-clip-main-grad", r, s, 0, at[r, s], latest + seconds("optimizer-clip-main-grad", 0, 0, 0))
        start = end["optimizer-clip-main-grad", r, s, 0]
        add("optimizer", r, s, 0, start, start + seconds("optimizer", r, s, 0))
    return rows


def made_trace(seconds, *, stages=3, replicas=2, microbatches=4, steps=2, delay=0.0) -> StepTrace:
    columns = ["dp_rank", "stage", "optype", "seq_id", "start_ts", "duration", "mc", "gmc"]
    frames = []
    for step in range(steps):
        rows = made_step(lambda *a, step=step: seconds(*a, step), stages, replicas, microbatches, delay)
        frames.append(pd.DataFrame(rows, columns=columns).assign(step=step))
    return step_trace(pd.concat(frames), "made")


def random_seconds(seed):
    def seconds(kind, replica, stage, place, step):
        key = [seed, *map(ord, kind), replica, stage, place, step]
        return np.random.default_rng(key).exponential(1.0 if kind in COMPUTATIONS else 0.1)

    return seconds


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 3), st.integers(1, 6))
def test_the_replay_of_a_made_step_gives_its_own_times(seed, stages, replicas, microbatches):
    trace = made_trace(random_seconds(seed), stages=stages, replicas=replicas, microbatches=microbatches)
    ends = replayed_ends(trace.graph, trace.seconds)
    assert ends == pytest.approx(trace.ends, rel=1e-12, abs=1e-12)
    assert np.abs(trace.launch_delays).max() < 1e-12


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 3), st.integers(1, 6))
def test_simpy_replays_a_step_to_the_last_bit(seed, stages, replicas, microbatches):
    trace = made_trace(random_seconds(seed), stages=stages, replicas=replicas, microbatches=microbatches)
    assert np.array_equal(simulated_steps(trace.graph, trace.seconds), replayed_steps(trace.graph, trace.seconds))


def test_launch_delays_are_told_from_slow_operations():
    plain, late = (made_trace(lambda *_: 1.0, delay=delay) for delay in (0.0, 0.25))
    study, delayed = so.straggler_study(plain), so.straggler_study(late)
    assert study.launch_slowdown == pytest.approx(1, abs=1e-12)
    assert delayed.undelayed == pytest.approx(study.measured, rel=1e-12)
    assert delayed.launch_delay["forward-compute"] == pytest.approx(0.25, rel=1e-9)
    assert delayed.slowdown == pytest.approx(1, abs=1e-12)


def test_a_slow_rank_is_named_and_its_removal_closes_the_gap():
    trace = made_trace(lambda kind, r, s, i, step: 2.0 if (r, s) == (1, 2) else 1.0)
    study = so.straggler_study(trace)
    assert study.slowest == ((2, 1),)
    fair = study.frame.query("kind == 'type'")["shapley"].sum()
    assert fair == pytest.approx(1, abs=1e-12)
    assert study.slowest_ranks_share > 1  # its slowness also lifts the mean that all others are set to


def test_a_slowdown_of_one_kind_is_all_of_the_gap():
    trace = made_trace(
        lambda kind, r, s, i, step: (2.0 if step else 1.0) if kind == "backward-compute" and r else 1.0, replicas=2
    )
    study = so.straggler_study(trace)
    backward = study.part("type", "backward")
    assert study.added(backward) == pytest.approx(1, abs=1e-12)
    assert study.removed(backward) == pytest.approx(1, abs=1e-12)


def test_a_missing_operation_is_named():
    trace = made_trace(lambda *_: 1.0)
    rows = pd.DataFrame(
        {"dp_rank": [0, 1], "stage": 0, "step": 0, "optype": ["gc", "optimizer"], "start_ts": 0.0, "duration": 1.0,
         "seq_id": 0, "mc": -1, "gmc": -1}
    )  # fmt: skip
    with pytest.raises(FileError, match="gc 0 of stage 0 of replica 1 in step 0 absent"):
        step_trace(rows, "x")
    assert "2 replicas of 3 stages" in repr(trace)


def test_files_that_are_no_step_trace_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("dp_rank,stage\n0,0\n")
    with pytest.raises(FileError, match="no column step, optype"):
        so.read_step_trace(tmp_path / "a.csv")
    with pytest.raises(FileError, match=r"expected \.parquet or \.csv"):
        so.read_step_trace(tmp_path / "a.txt")
    with pytest.raises(FileError, match="a file that can be read"):
        so.read_step_trace(tmp_path / "absent.csv")


@pytest.mark.parametrize("name", ["ST", "SE"])
def test_published_figures_of_recorded_jobs_are_met(name):
    pytest.importorskip("pyarrow", reason="the traces are Parquet files")
    if not TRACES.exists():
        pytest.skip(f"no traces in {TRACES}")
    study = so.straggler_study(so.read_step_trace(TRACES / f"trace-{name}.parquet"))
    stage, ranks = (json.loads((TRACES / f"{kind}-{name}.json").read_text()) for kind in ("ms", "mw"))
    last, slowest = study.part("stage", str(study.trace.stages - 1)), study.part("ranks", "slowest")
    ours = [study.undelayed, study.ideal, study.last_stage_share, study.added(last), study.slowest_ranks_share]
    theirs = [stage["tori"], stage["tideal"], stage["Ms"], stage["add"], ranks["Mw"]]
    assert ours == pytest.approx(theirs, rel=1e-6)  # the times in the file have seven digits
    assert study.added(slowest) == pytest.approx(ranks["add"], rel=1e-6)
    assert study.launch_slowdown == pytest.approx({"ST": 1.0192, "SE": 1.0051}[name], abs=5e-5)
    if name == "ST":
        trace = study.trace
        assert np.array_equal(simulated_steps(trace.graph, trace.seconds), replayed_steps(trace.graph, trace.seconds))
