"""A real vLLM run is met by the replay of its trace with a step time fitted on it."""

import pytest
from shared_data import shared

import secondorder as so
from secondorder.errors import FileError
from secondorder.simulate.serving import draw, run
from secondorder.validation.affine_fit import fit_affine, replay_errors
from secondorder.validation.measured import read_measured_run

RUN = "vllm_rtxpro6000_llama31_8b"


@pytest.fixture(scope="module")
def measured():
    return read_measured_run(shared(RUN))


def test_mean_median_and_p99_of_a_real_run_are_met_within_3_percent(measured):
    scenario = measured.scenario(so.models.llama_3_1_8b, so.accelerators.rtx_pro_6000)
    assert scenario.settings.enable_prefix_caching
    assert scenario.num_gpu_blocks is None  # derived from the card's memory
    calibration = fit_affine(scenario, measured.requests)
    assert set(calibration.errors.index) == {
        f"{m}_{q}" for m in ("ttft", "tpot", "e2el") for q in ("mean", "p50", "p99")
    }
    assert calibration.worst < 0.03, calibration.errors
    assert replay_errors(calibration.scenario, measured.requests)["error"].abs().max() == calibration.worst


def test_datasheet_step_times_miss_it_by_far_more(measured):
    scenario = measured.scenario(so.models.llama_3_1_8b, so.accelerators.rtx_pro_6000)
    assert replay_errors(scenario, measured.requests)["error"].abs().max() > 0.1


def test_a_fit_finds_the_step_time_of_another_card_whose_cache_binds(measured):
    """A run made up with known coefficients on a small card, preemptions included, is met again."""
    truth = so.Affine(per_step=0.018, per_prefill_token=9e-5, per_decode=2e-5, per_context_token=1.4e-7)
    scenario = measured.scenario(so.models.llama_3_1_8b, so.accelerators.rtx_4090, step_time=truth)
    served = run(scenario, draw(scenario, 300)).requests
    assert served["preemptions"].sum() > 0
    fitted = fit_affine(measured.scenario(so.models.llama_3_1_8b, so.accelerators.rtx_4090), served)
    assert fitted.worst < 0.03, fitted.errors


def test_a_folder_that_is_not_a_measured_run_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"trace\.jsonl"):
        read_measured_run(tmp_path)
