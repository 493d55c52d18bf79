"""The compiled engine against the one on SimPy: the same integers in every case."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_services import RESULTS, Case, by_hand, cases, examples

import secondorder as so
from secondorder.errors import InputError
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import StepTime, Table
from secondorder.simulate.kernels import compilation
from secondorder.simulate.kernels.serving import run as compiled
from secondorder.simulate.kernels.serving.run import record, supports
from secondorder.simulate.serving import draw
from secondorder.workloads.requests import Requests

EXAMPLES = int(os.environ.get("SECONDORDER_KERNEL_EXAMPLES", "90"))
"""Random services of each kind; more by `make validate`."""


# The engine


def assert_same(case: Case, *, leaps: bool = True) -> None:
    expected, found = case.record(), record(case.scenario, case.requests, leaps=leaps)
    for name in RESULTS:
        assert getattr(found, name).tolist() == list(getattr(expected, name)), name
    assert found.steps == expected.steps
    assert found.total_preemptions == sum(expected.preemptions)
    if leaps:
        (log,) = expected.logs.values()
        assert found.series.T.tolist() == [list(column) for column in log.series]


@given(cases(caching=False))
@examples(EXAMPLES)
def test_the_kernel_gives_the_integers_of_the_engine(case: Case) -> None:
    assert_same(case)


@given(cases(caching=True))
@examples(2 * EXAMPLES)
def test_the_kernel_gives_the_integers_of_the_engine_that_caches_prefixes(case: Case) -> None:
    assert_same(case)


@given(cases(caching=True, most_requests=16, output=3))
@examples(EXAMPLES)
def test_the_kernel_gives_the_integers_of_an_engine_that_evicts_much(case: Case) -> None:
    assert_same(case)


@given(cases(cadence=True, most_requests=16), st.booleans())
@examples(2 * EXAMPLES)
def test_the_kernel_gives_the_integers_of_an_engine_with_a_prefill_cadence(case: Case, leaps: bool) -> None:
    assert_same(case, leaps=leaps)


@given(cases(urgent=True, most_requests=16), st.booleans())
@examples(3 * EXAMPLES)
def test_the_kernel_gives_the_integers_of_an_engine_that_heeds_priorities(case: Case, leaps: bool) -> None:
    assert_same(case, leaps=leaps)


@given(cases(urgent=True, cadence=True, most_requests=16, output=12))
@examples(2 * EXAMPLES)
def test_the_kernel_gives_the_integers_of_priorities_with_a_cadence(case: Case) -> None:
    assert_same(case)


@given(cases(cadence=True, caching=True, most_requests=16, output=6))
@examples(EXAMPLES)
def test_the_kernel_gives_the_integers_of_a_cadence_with_much_eviction(case: Case) -> None:
    assert_same(case)


@given(cases(most_requests=4, output=300))
@examples(EXAMPLES // 3)
def test_the_kernel_gives_the_integers_of_long_leaps(case: Case) -> None:
    assert_same(case)


@given(cases(most_requests=6))
@examples(EXAMPLES // 3)
def test_leaps_change_no_integer_of_the_kernel(case: Case) -> None:
    assert_same(case, leaps=False)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Grids with uneven points that hold every step of the random services, or not quite; more context takes longer."""
    end = draw(st.sampled_from([400, 400, 400, 45, 8]))
    seconds = st.floats(1e-4, 1e-2)
    axes = [[1, *draw(st.lists(st.sampled_from([2, 5.5, 7, 11.25, 30]), unique=True)), end] for _ in range(3)]
    prefill, sequences, contexts = (sorted({float(x) for x in axis if x <= end}) for axis in axes)
    return Table(
        prefill=[(tokens, draw(seconds)) for tokens in prefill],
        decode=[(n, context, draw(seconds) + context * 1e-2) for n in sequences for context in contexts],
    )


@given(cases(most_requests=6, output=80), tables())
@examples(EXAMPLES)
def test_the_kernel_takes_measured_tables_and_refuses_what_they_do_not_hold(case: Case, table: StepTime) -> None:
    case = replace(case, scenario=replace(case.scenario, step_time=table))
    refusal = _refusal(lambda: case.record())
    assert refusal == _refusal(lambda: record(case.scenario, case.requests))
    if not refusal:
        assert_same(case)


def _refusal(action: Callable[[], object]) -> str:
    try:
        action()
    except InputError as error:
        return str(error)
    return ""


@given(cases(most_requests=6), st.sampled_from(["llama_3_1_8b", "mixtral_8x7b"]), st.sampled_from([1, 2]))
@examples(EXAMPLES // 5)
def test_the_kernel_takes_the_measured_roofline(case: Case, model: str, ranks: int) -> None:
    step_time = so.MeasuredRoofline(engine="sglang")
    changes = {"model": so.models[model], "precision": "fp8", "tensor_parallel_size": ranks, "step_time": step_time}
    assert_same(replace(case, scenario=replace(case.scenario, **changes)))


@given(cases(most_requests=6))
@examples(EXAMPLES // 5)
def test_the_kernel_reads_the_weights_of_the_experts_that_a_step_hits(case: Case) -> None:
    scenario = replace(
        case.scenario, model=so.models.mixtral_8x7b, precision="fp8", tensor_parallel_size=2, step_time=so.Roofline()
    )
    assert_same(replace(case, scenario=scenario))


@given(cases(most_requests=8))
@examples(EXAMPLES // 5)
def test_a_run_that_pauses_often_is_the_same_run(case: Case) -> None:
    with mock.patch.object(compiled, "PORTION", 1), mock.patch.object(compiled, "ROWS", 2):
        assert_same(case)


def conversations(rate: float = 20, **changes: object) -> Serving:
    return Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson(f"{rate} request/s"),
        lengths=so.lengths.azure_conv_2023,
        **changes,
    )


SHORT = {"max_model_len": 20_000}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"async_scheduling": True},
        {"num_gpu_blocks": 2200, **SHORT},
        {"enable_prefix_caching": True},
        {"prefill_schedule_interval": 4, "num_gpu_blocks": 2200, **SHORT},
        {"scheduling_policy": "priority", "priorities": {0: 0.2, 5: 0.5, 1: 0.3}, "num_gpu_blocks": 2200, **SHORT},
    ],
    ids=["plain", "asynchronous", "cache-bound", "prefix cache", "prefill cadence", "priorities"],
)
def test_the_kernel_gives_the_integers_of_a_service_near_saturation(changes: dict[str, object]) -> None:
    scenario = conversations(**changes)
    requests = draw(scenario, 1500, seed=3)
    assert_same(Case(scenario, tuple(np.rint(requests.arrival / 1e-12).astype(int).tolist()), requests))


def test_no_request_at_all_is_a_run_too() -> None:
    scenario = conversations()
    assert record(scenario, draw(scenario, 10)[:0]).steps == 0


def test_a_model_that_the_kernel_does_not_know_is_not_supported() -> None:
    class Mine:
        def seconds(self, placement: object) -> object:
            return lambda P, A, C, D, K, S: 1e-3 + 0.0 * K

    assert supports(conversations())
    assert not supports(conversations(step_time=Mine()))


def test_a_run_without_records_takes_under_40_bytes_a_request() -> None:
    scenario = conversations()
    requests = draw(scenario, 200_000)
    record(scenario, requests[:10], records=False)
    tracemalloc.start()
    few, many = (_peak(scenario, requests[:count]) for count in (100_000, 200_000))
    tracemalloc.stop()
    assert many - few <= 40 * 100_000


def _peak(scenario: Serving, requests: Requests) -> int:
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    record(scenario, requests, records=False)
    _, peak = tracemalloc.get_traced_memory()
    return peak - before


def test_progress_is_told_in_requests() -> None:
    told: list[int] = []
    scenario = conversations()
    with mock.patch.object(compiled, "PORTION", 100):
        record(scenario, draw(scenario, 1000), records=False, progress=told.append)
    assert told == sorted(told)
    assert len(told) >= 5


def test_a_request_on_the_grid_of_steps_is_in_the_next_one() -> None:
    assert_same(by_hand([(0, 3, 9), (1, 3, 1), (4, 9, 2)]))


# Compilation


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_numba_is_imported_only_where_a_kernel_runs() -> None:
    done = python(
        "import sys, secondorder as so\n"
        "from secondorder.simulate import serving\n"
        "queue = so.Queue(arrivals='poisson 8 request/s', service='exponential 100 ms')\n"
        "so.solve(queue)\n"
        "assert 'numba' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_compiled_code_goes_to_the_user_where_the_package_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__pycache__").write_text("not a folder")
    with (
        mock.patch.object(compilation, "KERNELS", tmp_path / "package"),
        mock.patch.object(compilation, "user_cache", return_value=tmp_path / "user" / "secondorder"),
    ):
        found = compilation.folder.__wrapped__()
    assert found.parent == tmp_path / "user" / "secondorder"
    assert found.is_dir()


def test_without_any_folder_for_compiled_code_the_error_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("not a folder")
    with (
        mock.patch.object(compilation, "KERNELS", tmp_path),
        mock.patch.object(compilation, "user_cache", return_value=tmp_path / "__pycache__"),
        pytest.raises(InputError, match="NUMBA_CACHE_DIR"),
    ):
        compilation.folder.__wrapped__()


def test_the_first_use_says_that_it_compiles_and_the_second_does_not(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from secondorder.simulate.kernels.queues import first_come\n"
        "first_come(np.zeros(3), np.ones(3), 1)"
    )
    first, second = (python(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "compiling" in first.stderr
    assert second.stderr == ""
