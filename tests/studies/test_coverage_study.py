"""Coverage over many seeds survives a kill: nothing finished is lost, and the table is the same bit for bit."""

import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plain_engine import PLAIN

import secondorder as so
from secondorder.cli import main
from secondorder.errors import InputError
from secondorder.studies import coverage as study
from secondorder.studies.packed_sections import packed, unpacked
from secondorder.studies.points import Keeping
from secondorder.validation.catalogue import reference, services
from secondorder.validation.catalogue.services import Service, trial

SERVICE = Service(
    name="small",
    load=0.5,
    scenario=so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="poisson 60 request/s",
        lengths="input=200 output=geometric 20",
        max_num_seqs=8,
        step_time="affine 2e-3 per_prefill_token=1e-5 per_decode=1e-5",
        **PLAIN,
    ),
)
SEEDS = 5
KILLED = """
import sys
sys.path[:0] = ["tests", "tests/studies"]
from test_coverage_study import SERVICE, SEEDS
from secondorder.studies.coverage import covered_services
from secondorder.studies.points import Keeping
list(covered_services([SERVICE], seeds=SEEDS, keeping=Keeping(store=sys.argv[1])))
"""


def finished(file: Path) -> int:
    """Trials that the store holds."""
    try:
        with sqlite3.connect(file) as database:
            return int(database.execute("SELECT count(*) FROM points").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_a_killed_coverage_resumes_to_the_same_cells_bit_for_bit(tmp_path: Path) -> None:
    file = tmp_path / "coverage.db"
    root = Path(__file__).parents[2]
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(file)], cwd=root)
    end = time.monotonic() + 120
    while finished(file) < 2 and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = finished(file)
    assert 2 <= before <= SEEDS
    resumed = list(study.covered_services([SERVICE], seeds=SEEDS, keeping=Keeping(store=file, resume=True)))
    assert resumed == list(study.covered_services([SERVICE], seeds=SEEDS))
    assert finished(file) == SEEDS


def test_a_finished_coverage_simulates_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "coverage.db"
    first = list(study.covered_services([SERVICE], seeds=3, keeping=Keeping(store=file)))
    with pytest.raises(InputError, match=r"with 3 of 3 points already.*--resume"):
        list(study.covered_services([SERVICE], seeds=3, keeping=Keeping(store=file)))
    monkeypatch.setattr(study, "trial", None)
    assert list(study.covered_services([SERVICE], seeds=3, keeping=Keeping(store=file, resume=True))) == first


def test_another_service_of_the_same_name_is_not_taken_for_the_first(tmp_path: Path) -> None:
    keeping = Keeping(store=tmp_path / "coverage.db")
    list(study.covered_services([SERVICE], seeds=2, keeping=keeping))
    other = replace(SERVICE, scenario=replace(SERVICE.scenario, max_num_seqs=9))
    list(study.covered_services([other], seeds=2, keeping=keeping))
    assert finished(tmp_path / "coverage.db") == 4


def test_recorded_lengths_are_told_apart_by_their_pairs() -> None:
    def law(*inputs: int) -> so.workloads.lengths.Empirical:
        return so.workloads.lengths.Empirical(name="law", input=inputs, output=[20, 20], weight=[1, 19])

    one, other = (replace(SERVICE, scenario=replace(SERVICE.scenario, lengths=law(200, n))) for n in (50, 60))
    keys = {point.key for service in (one, other) for point in study._points(service, 1, 0)}
    assert len(keys) == 2


def test_a_section_is_unpacked_bit_for_bit() -> None:
    section = trial(SERVICE, 0).together
    assert section is not None
    again = unpacked(packed(section))
    assert again.totals == section.totals
    assert again.controls == section.controls
    assert np.array_equal(again.work, section.work)
    for name, law in section.laws.items():
        for part in ("bins", "counts", "means", "least", "greatest"):
            found, given = getattr(again.laws[name], part), getattr(law, part)
            assert found.dtype == given.dtype
            assert found.tobytes() == given.tobytes()


def test_the_command_resumes_and_prints_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(services, "services", lambda: (SERVICE,))
    file = str(tmp_path / "coverage.db")
    asked = ["validate", "--coverage", "--suite", "serving", "--seeds", "4", "--jobs", "1"]
    assert main(asked) == 0
    alone = capsys.readouterr().out
    assert main([*asked, "--store", file]) == 0
    kept = capsys.readouterr().out
    assert main([*asked, "--store", file]) == 2
    assert "with 4 of 4 points already" in capsys.readouterr().err
    assert main([*asked, "--store", file, "--resume"]) == 0
    assert capsys.readouterr().out == kept == alone
    assert main(["store", file]) == 0
    assert "small" in capsys.readouterr().out
    assert main(["store", file, "--export", str(tmp_path / "trials.csv")]) == 0
    assert "ttft_p99" in (tmp_path / "trials.csv").read_text()


def test_a_store_without_coverage_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--suite", "queueing", "--store", "trials.db"]) == 2
    assert "expected --coverage too" in capsys.readouterr().err


def test_the_coverage_of_queues_is_kept_and_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    row = reference.Row(system="M/M/1", quantity="E[W]", metric="wait_mean", truth=0.4)
    system = reference.System(name="M/M/1", queue=queue, rows=(row,))
    monkeypatch.setattr(reference.System, "seeds", 4)
    keeping = Keeping(store=tmp_path / "coverage.db")
    first = study.covered_queues([system], keeping=keeping)
    monkeypatch.setattr(study, "intervals_hold", None)
    assert study.covered_queues([system], keeping=replace(keeping, resume=True)) == first
    assert first[0].coverage.intervals == 4
