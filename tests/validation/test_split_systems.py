"""Real systems with prefill and decode apart are met within the stated bars, and not by a wrong layout."""

import sys
from pathlib import Path

import numpy as np
from shared_data import shared

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import disaggregated
import splits


def test_stated_rows_are_met_with_what_was_fitted_without_their_system() -> None:
    """Constants of the way that left H100 and H200 out, on H200's rows that state their workers: 20 and 40 %."""
    rows, refused = splits.read(shared("silicon_disaggregated.csv"))
    assert len(rows) == 417
    assert not refused
    fitted = splits.Constants(acceptance=0.672, network_latency=3.7e-5, network_bandwidth=5e10, prefill_grouped=0.297)
    stated = [row for row in rows if row.known == "stated" and row.setting.system == "h200_sxm"]
    table = disaggregated.frame(stated, fitted)
    assert len(table) == 28
    assert table["tpot error"].abs().median() < 0.20
    assert table["ttft error"].abs().median() < 0.40


def test_without_slots_and_ranks_the_same_rows_are_missed() -> None:
    """The bars can fail: as one tensor-parallel worker of each kind both errors are above them."""
    rows, _ = splits.read(shared("silicon_disaggregated.csv"))
    stated = [row for row in rows if row.known == "stated" and row.setting.system == "h200_sxm"]
    wrong = [
        splits.predicted(row.setting._replace(prefill=splits.Layout(1, "tp8"), decode=splits.Layout(1, "tp8", 1024)))
        for row in stated
    ]
    errors = np.abs([(w.tpot / row.tpot - 1, w.ttft / row.ttft - 1) for w, row in zip(wrong, stated, strict=True)])
    assert (np.median(errors, axis=0) > (0.20, 0.40)).all()
