"""Users of prefill and decode apart: the compiled run of one closed loop, as a load generator drives it."""

from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.metric import LATENCIES, QUANTILES, REQUEST_LATENCIES, Metric
from secondorder.arrays import Floats, Integers
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.kernels.disaggregated_loop import SplitLoad, SplitTimes, serve_split
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.streams import stream

ROUNDS = 10
"""Requests of a user; the first of all come at once and count, as those of load generators do."""
LEAST = 400
"""Requests of a replication, at least."""
METRICS = (
    *(metric for metric in LATENCIES if metric.name in REQUEST_LATENCIES),
    Metric(name="transfer", unit="s", statistics=("mean",)),
    Metric(name="throughput", unit="request/s"),
)


def simulate_loop(scenario: Disaggregated, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent runs of ten requests a user, of which the first come at once."""
    found = replicated(partial(_one, scenario, seed), replications, jobs, least=2)
    how = f"simulated: {replications} replications of {ROUNDS} requests a user, the first at once"
    return Answer(scenario=scenario.name, estimates=estimates(found, METRICS), how=how)


def medians(scenario: Disaggregated, seed: int = 0) -> tuple[float, float]:
    """Median time to the first token and per output token (s) of one run, as benchmarks publish them."""
    found = _one(scenario, seed, 0, ROUNDS * _users(scenario))
    return found["ttft_p50"], found["tpot_p50"]


def run(scenario: Disaggregated, prompts: Integers, outputs: Integers) -> SplitTimes:
    """These requests in this order; times in ps."""
    steps, later = scenario.decode_steps, np.maximum(np.asarray(outputs) - 1, 0)
    moved = np.asarray(scenario.transfer_seconds(np.asarray(prompts, float)))
    load = SplitLoad(
        prompts=np.asarray(prompts, np.int64),
        rounds=np.ceil(later / scenario.tokens_per_step).astype(np.int64),
        users=_users(scenario),
        prefill_workers=scenario.prefill_replicas,
        decode_workers=scenario.decode_replicas,
        places=scenario.places,
        mean_prompt=scenario.serving.offered.mean_input,
        prefill=scenario.prefill_steps / PICO,
        decode=steps.seconds / PICO,
        context=steps.per_token / PICO,
        transfer=moved / PICO,
        per_round=scenario.tokens_per_step,
    )
    return serve_split(load)


def _one(scenario: Disaggregated, seed: int, replication: int, requests: int = 0) -> Amounts:
    count = requests or max(LEAST, ROUNDS * _users(scenario))
    drawn = scenario.serving.requests(count, *(stream(seed, replication, cause) for cause in ("arrivals", "lengths")))
    outputs = np.asarray(drawn.output_tokens)
    times = run(scenario, np.asarray(drawn.input_tokens), outputs)
    ttft, tpot = _at_client(scenario, times, outputs)
    found = {
        **_latency("ttft", ttft),
        **_latency("tpot", tpot[outputs > 1]),
        **_latency("e2el", np.asarray((times.done - times.sent) * PICO, np.float64)),
        "transfer_mean": float((times.moved - times.computed).mean() * PICO),
        "throughput": float(count / (times.done.max() * PICO)),
    }
    return found


def _at_client(scenario: Disaggregated, times: SplitTimes, outputs: Integers) -> tuple[Floats, Floats]:
    """Times to the first token and per later token as the client sees them: the first is late, the last is not."""
    decoded = (times.done - times.first) * PICO
    later = np.maximum(outputs - 1, 1)
    step = decoded / np.maximum(np.ceil(later / scenario.tokens_per_step), 1)
    late = np.minimum(scenario.steps_late * step, decoded)
    return (times.first - times.sent) * PICO + late, (decoded - late) / later


def _users(scenario: Disaggregated) -> int:
    assert scenario.users is not None
    return scenario.users


def _latency(name: str, values: Floats) -> dict[str, float]:
    if not len(values):
        return {}
    levels = np.quantile(values, list(QUANTILES.values()))
    found = {f"{name}_{label}": float(level) for label, level in zip(QUANTILES, levels, strict=True)}
    return {f"{name}_mean": float(values.mean())} | found
