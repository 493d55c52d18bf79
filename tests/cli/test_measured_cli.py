"""The commands that read measured runs: what they print, write and refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import secondorder as so
from secondorder.cli import main
from secondorder.errors import InputError
from secondorder.simulate.serving import draw, run
from secondorder.validation.calibrate import _check_possible
from secondorder.validation.measured import MeasuredRun
from secondorder.validation.replay import replay

TRUTH = so.MeasuredRoofline(memory_efficiency=0.7, bf16_efficiency=0.6, per_sequence="60 µs", prefill_floor="40 µs")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vLLM bench result of an engine whose constants are known."""
    scenario = so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("8 request/s"),
        lengths=so.Lengths(input=so.Uniform(100, high=3000), output=so.Uniform(5, high=60)),
        step_time=TRUTH,
        async_scheduling=True,
        enable_prefix_caching=True,
    )
    served = run(scenario, draw(scenario, 60, seed=2)).requests
    gaps = [[tpot] * (n - 1) for tpot, n in zip(served["tpot"], served["output_tokens"], strict=True)]
    content = {
        "model_id": "meta-llama/Llama-3.1-8B",
        "start_times": served["arrival"].tolist(),
        "input_lens": served["input_tokens"].tolist(),
        "output_lens": served["output_tokens"].tolist(),
        "ttfts": (served["ttft"] + 0.01).tolist(),
        "itls": gaps,
    }
    path = tmp_path_factory.mktemp("run") / "result.json"
    path.write_text(json.dumps(content))
    return path


COMMON = ["--model", "llama_3_1_8b", "--accelerator", "h100_sxm"]


def test_calibrate_finds_the_constants_and_its_profile_is_a_step_time(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "h100.toml"
    arguments = ["calibrate", str(result), *COMMON, "--fitted", "0.5", "--profile", str(profile), "--format", "json"]
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert max(abs(row["error"]) for row in rows) < 0.02
    assert {row["rows"] for row in rows} == {"fitted", "held out"}
    other = {
        "model": "qwen3_32b",
        "accelerator": "h100_sxm",
        "tensor_parallel_size": 2,
        "arrivals": "poisson 1 request/s",
        "lengths": so.Lengths(input=100, output=20),
    }
    found = so.Serving(step_time=str(profile), **other)
    exact = so.Serving(step_time=TRUTH, **other)
    batch = (0, 0, 0, 16, 16 * 1000, 16)
    assert found.step_seconds(*batch) == pytest.approx(exact.step_seconds(*batch), rel=0.03)
    prompt = (2000, 2e6, 2000, 16, 16_000, 17)
    assert found.step_seconds(*prompt) == pytest.approx(exact.step_seconds(*prompt), rel=0.03)


def test_the_constants_of_a_made_up_engine_are_found(result: Path) -> None:
    fit = so.calibrate(so.read_run(result), model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm)
    assert fit.settled
    assert fit.step_time.memory_efficiency == pytest.approx(0.7, rel=0.02)
    assert fit.step_time.bf16_efficiency == pytest.approx(0.6, rel=0.02)
    assert fit.front_end == pytest.approx(0.01, rel=0.1)
    assert fit.worst("fitted") < 0.01


def test_replay_lays_three_witnesses_side_by_side(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(result), *COMMON, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 9
    for row in rows:
        assert row["error"] == pytest.approx(row["simulated"] / row["measured"] - 1)
    tpot = next(row for row in rows if row["metric"] == "tpot_p50")
    assert 0.5 < tpot["closed form"] / tpot["simulated"] < 1.5


def test_replay_draws_distributions_and_writes_a_page(result: Path, tmp_path: Path) -> None:
    figure, folder = tmp_path / "replay.svg", tmp_path / "report"
    assert main(["replay", str(result), *COMMON, "--figure", str(figure), "--report", str(folder)]) == 0
    assert "time to first token" in figure.read_text()
    page = (folder / "index.html").read_text()
    assert "ttft_p99" in page
    assert "<svg" in page


def test_the_load_axis_of_a_replay_finds_the_load_that_was_offered(result: Path) -> None:
    """Measured at 8/s by the true step time, replayed with its trace stretched to 8 % less load."""
    measured = so.read_run(result)
    scenario = measured.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm, step_time=TRUTH)
    calm = replace(measured, trace=measured.trace.at(f"{measured.trace.arrivals.rate.magnitude / 1.08} request/s"))
    errors = replay(calm, scenario).load_errors
    assert errors["tpot_mean"] == pytest.approx(0.08, abs=0.0375)  # replays are 7.5 % of the load apart


def test_bad_input_is_one_line_with_exit_code_2(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["replay", "nothing.json", *COMMON], "nothing.json: got No such file or directory"),
        (["replay", str(result), *COMMON, "--setting", "blocks"], "expected FIELD=VALUE"),
        (["calibrate", *COMMON], "RESULT: got none"),
        (["replay", str(result), str(result), *COMMON, "--figure", "x.png"], "figure: got 2 runs"),
        (["replay", str(result), "--model", "qwen3_8b", "--accelerator", "h100_sxm"], "expected that of the run"),
        (["replay", str(result), *COMMON, "--step-time", "none.toml"], "none.toml: No such file"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_run_with_too_few_requests_to_fit_is_refused(result: Path) -> None:
    measured = so.read_run(result)
    with pytest.raises(InputError, match="fitted: got 3 requests, expected at least 10"):
        so.calibrate(measured, model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm, fitted=0.05)


def test_a_run_without_times_between_tokens_is_refused(result: Path) -> None:
    """It once gave 100 ms a sequence, and attention at a hundredth of the bandwidth."""
    measured = so.read_run(result)
    requests = measured.requests.assign(output_tokens=1)
    with pytest.raises(InputError, match="fitted: got 0 requests with several output tokens, expected at least 10"):
        so.calibrate(
            replace(measured, requests=requests), model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm
        )


def test_a_run_that_is_faster_than_its_card_can_be_is_refused(result: Path) -> None:
    """Two cards were taken for one: every efficiency was 1, and the replay still a third too slow."""
    measured = so.read_run(result)
    scenario = measured.scenario(so.models.llama_3_1_8b, so.accelerators.h100_sxm)
    _check_possible([measured], [scenario])
    slower = replace(scenario, accelerator=so.accelerators.l40s)
    with pytest.raises(
        InputError, match=r"on 1 x NVIDIA L40S at its peaks exceeds by \d+%, expected .* state what the"
    ):
        _check_possible([measured], [slower])


def test_the_experts_floor_of_a_mixture_is_found() -> None:
    """Fused kernels: a tenth of the published floor, which no efficiency could make up for."""
    truth = so.MeasuredRoofline(memory_efficiency=0.8, expert_floor="5 µs")
    scenario = so.Serving(
        model=so.models.qwen3_30b_a3b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("8 request/s"),
        lengths=so.Lengths(input=so.Uniform(100, high=1000), output=so.Uniform(5, high=60)),
        step_time=truth,
    )
    offered = draw(scenario, 40, seed=2)
    trace = so.Trace(name="mixture", requests=replace(offered, arrival=offered.arrival - offered.arrival[0]))
    known = replace(scenario, arrivals=trace, lengths=None)
    run_ = MeasuredRun(name="mixture", trace=trace, requests=run(known, draw(known, 40)).requests, settings={})
    fit = so.calibrate(run_, model=scenario.model, accelerator=scenario.accelerator)
    assert fit.constants["expert_floor"] == pytest.approx(5e-6, abs=1e-6)
    assert fit.constants["memory"] == pytest.approx(1 / 0.8, rel=0.01)
    assert "per_sequence" not in fit.constants


def test_most_constants_lie_in_their_intervals_when_times_scatter(result: Path) -> None:
    """Scatter of 1 % on each time: with 95 % intervals, fewer than four of six happen once in 400 such fits."""
    measured = so.read_run(result)
    rng = np.random.default_rng(5)
    frame = measured.requests
    decoding = (frame["e2el"] - frame["ttft"]) * np.exp(0.01 * rng.standard_normal(len(frame)))
    frame["e2el"] = frame["ttft"] + decoding
    fit = so.calibrate(measured, model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm)
    truth = {"memory": 1 / 0.7, "arithmetic": 1 / 0.6, "attention": 1 / 0.8, "per_sequence": 6e-5}
    truth |= {"prefill_step": 32 * 4e-5, "front_end": 0.01}
    held = [fit.intervals[name][0] <= value <= fit.intervals[name][1] for name, value in truth.items()]
    assert sum(held) >= 4, fit.intervals


def test_a_closed_loop_without_its_requests_is_replayed_and_not_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agg.json"
    stated = {"conc": 4, "isl": 256, "osl": 64, "tp": 1, "model": "meta-llama/Llama-3.1-8B", "framework": "vllm"}
    path.write_text(json.dumps({**stated, "precision": "bf16", "median_ttft": 0.04, "median_tpot": 0.008}))
    assert main(["replay", str(path), *COMMON, "--format", "json"]) == 0
    rows = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["tpot_p50"]["measured"] == 0.008
    assert 0.004 < rows["tpot_p50"]["simulated"] < 0.012  # weights alone take 5 ms
    for arguments in (["calibrate", str(path), *COMMON], ["replay", str(path), *COMMON, "--figure", "x.png"]):
        assert main(arguments) == 2
        assert "agg, 4 users, a summary" in capsys.readouterr().err


def test_a_replay_adds_the_front_end_of_its_profile(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.toml").write_text('step_time = "measured-roofline"\nfront_end = "10 ms"\n')
    found = []
    for step_time in ("measured-roofline", str(tmp_path / "p.toml")):
        assert main(["replay", str(result), *COMMON, "--step-time", step_time, "--format", "json"]) == 0
        rows = {row["metric"]: row["simulated"] for row in json.loads(capsys.readouterr().out)}
        found.append([rows["ttft_mean"], rows["e2el_mean"], rows["tpot_mean"]])
    assert np.subtract(*found[::-1]) == pytest.approx([0.01, 0.01, 0.0], abs=1e-9)


def test_a_card_without_a_link_is_given_one(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = ["replay", str(result), "--model", "llama_3_1_8b", "--accelerator", "rtx_4090", "--format", "json"]
    degree = ["--setting", "tensor_parallel_size=2"]
    assert main([*card, *degree]) == 2
    assert "--setting 'link_bandwidth=64 GB/s'" in capsys.readouterr().err
    assert main([*card, *degree, "--setting", "link_bandwidth=64 GB/s"]) == 0


@pytest.mark.parametrize("setting", ["maximum=3", "model=x", "step_time=constant", "engine=vllm 0.19"])
def test_a_setting_that_the_run_cannot_take_is_refused(
    result: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    assert main(["calibrate", str(result), *COMMON, "--setting", setting]) == 2
    assert capsys.readouterr().err.startswith("secondorder: setting: got")
