"""Real clients against ``secondorder emulate``: does each report what ``simulate`` says, within its own overhead?
And does its file read, replay, and calibrate back?

    python benchmarks/real_clients.py --vllm ENV/bin/vllm --guidellm ENV/bin/guidellm --aiperf ENV/bin/aiperf
        --inference-perf ENV/bin/inference-perf [--requests 80] [--first 240] [--rate 2 | --users 8] [--keep FOLDER]
        [--realtime]

Each client is installed in an environment of its own; one that is not found on the path or by its flag is skipped. A
tokenizer of three-letter words is written to the folder, so that nothing is fetched: the endpoint counts four
characters as a token, and so does this tokenizer. ``--realtime`` asks the system's scheduler for precedence (root).

Each client runs twice at the same load, with other arrivals and lengths. The first run measures the client's overhead:
of each request, what the client reports less the time at which the endpoint's engine answered (``emulate --record``).
The second is held against ``simulate``: if the overhead of every request lies between the least and the most of the
first run, so does that of the mean and of each quantile; a mean should also lie in the first run's 95 % range.

A p99 of 80 requests is the time of one of the last two. If overheads of both runs are alike, that of one request is
above the most of ``n`` others once in ``n + 1`` times, so the first run is three times as long as the second. Spells
of other work make neighbours alike, so the range of a mean comes from means of batches of requests in order.
"""

import argparse
import itertools
import json
import shutil
import string
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import secondorder as so
from secondorder.arrays import Floats
from secondorder.simulate.serving import run as run_engine
from secondorder.validation.calibrate import told
from secondorder.validation.measured import MeasuredRun
from secondorder.validation.replay import replay
from secondorder.validation.replayed_steps import summary
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace

MODEL, CARD = so.models.llama_3_1_8b, so.accelerators.a10
LAW = "measured-roofline memory_efficiency=0.7 bf16_efficiency=0.6 per_sequence=100us"
TRUTH = so.MeasuredRoofline(memory_efficiency=0.7, bf16_efficiency=0.6, per_sequence="100us")
PLAN = f"""\
[serving]
name = "emulated"
model = "llama_3_1_8b"
accelerator = "a10"
arrivals = "poisson 2 request/s"
lengths = "azure_conv_2023"
step_time = "{LAW}"
"""
RECORD = "engine.csv"
"""What the endpoint writes of the requests."""
PROMPT, PROMPT_SPREAD, OUTPUT, OUTPUT_SPREAD = 600, 250, 60, 20
BATCHES = [(0, 0, 0, n, n * context, n) for n in (1, 4, 8, 16) for context in (400, 800)] + [
    (p, p * (p + 1) / 2, p, n, n * 600, n + 1) for p in (300, 600, 1200) for n in (0, 4, 8)
]
"""Steps as (P, A, C, D, K, S): decodes alone, then a whole prompt among decodes."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where a client finds the endpoint and the tokenizer, where it writes, and its load: ``users``, or a ``rate``."""

    url: str
    tokenizer: Path
    folder: Path
    requests: int
    rate: float
    users: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Client:
    """``command``: its arguments; ``result``: the file, below the folder; ``own``: its summary's figures (s)."""

    name: str
    command: Callable[[Run], list[str]]
    result: str
    own: Callable[[Path], Mapping[str, float]]


def vllm(run: Run) -> list[str]:
    spread = str(PROMPT_SPREAD / PROMPT)
    load = ["inf", "--max-concurrency", str(run.users)] if run.users else [str(run.rate)]
    return [
        "bench", "serve", "--backend", "openai", "--base-url", run.url, "--endpoint", "/v1/completions", "--model",
        "emulated", "--tokenizer", str(run.tokenizer), "--dataset-name", "random", "--random-input-len", str(PROMPT),
        "--random-output-len", str(OUTPUT), "--random-range-ratio", spread, "--num-prompts", str(run.requests),
        "--percentile-metrics", "ttft,tpot,e2el", "--metric-percentiles", "99",
        "--save-result", "--save-detailed", "--result-dir", str(run.folder), "--result-filename", "vllm.json",
        "--disable-tqdm", "--seed", str(run.seed), "--request-rate", *load,
    ]  # fmt: skip


def guidellm(run: Run) -> list[str]:
    prompt = f"prompt_tokens={PROMPT},prompt_tokens_stdev={PROMPT_SPREAD},prompt_tokens_min=50,prompt_tokens_max=2000"
    output = f"output_tokens={OUTPUT},output_tokens_stdev={OUTPUT_SPREAD},output_tokens_min=5,output_tokens_max=150"
    load = f"kind=concurrent,streams={run.users}" if run.users else f"kind=poisson,rate={run.rate:g}"
    return [
        "run", "--backend", f"kind=openai_http,target={run.url},model=emulated", "--profile",
        load, "--constraint", f"kind=max_requests,count={run.requests}", "--tokenizer",
        f"kind=hf_auto,model={run.tokenizer}", "--data", f"kind=synthetic_text,{prompt},{output}", "--output",
        f"kind=json,path={run.folder / 'guidellm.json'}", "--disable-console",
        "--seed", f"kind=static,value={run.seed}",
    ]  # fmt: skip


def aiperf(run: Run) -> list[str]:
    load = ["--concurrency", str(run.users)] if run.users else ["--request-rate", str(run.rate)]
    return [
        "profile", "--model", "emulated", "--url", run.url, "--endpoint-type", "chat", "--streaming", "--tokenizer",
        str(run.tokenizer), "--synthetic-input-tokens-mean", str(PROMPT), "--synthetic-input-tokens-stddev",
        str(PROMPT_SPREAD), "--output-tokens-mean", str(OUTPUT), "--output-tokens-stddev", str(OUTPUT_SPREAD),
        *load, "--random-seed", str(run.seed), "--request-count", str(run.requests), "--artifact-dir", str(run.folder),
        "--ui", "none",
    ]  # fmt: skip


def inference_perf(run: Run) -> list[str]:
    spread = {"min": 50, "max": 2000, "mean": PROMPT, "std_dev": PROMPT_SPREAD, "total_count": run.requests}
    outputs = {"min": 5, "max": 150, "mean": OUTPUT, "std_dev": OUTPUT_SPREAD, "total_count": run.requests}
    stage: dict[str, float] = {"rate": run.rate, "duration": round(run.requests / run.rate)}
    if run.users:
        stage = {"concurrency_level": run.users, "num_requests": run.requests}
    plan = {
        "api": {"type": "completion", "streaming": True},
        "server": {"type": "vllm", "model_name": "emulated", "base_url": run.url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": str(run.tokenizer)},
        "data": {"type": "random", "input_distribution": spread, "output_distribution": outputs},
        "load": {"type": "concurrent" if run.users else "poisson", "stages": [stage], "num_workers": 1},
        "report": {"request_lifecycle": {"summary": True, "per_stage": False, "per_request": True}},
        "storage": {"local_storage": {"path": str(run.folder / "reports")}},
    }
    (run.folder / "inference_perf.yml").write_text(json.dumps(plan))  # JSON is YAML
    return ["--config_file", str(run.folder / "inference_perf.yml")]


def of_vllm(folder: Path) -> dict[str, float]:
    found = json.loads((folder / "vllm.json").read_text())
    words = {"mean": "mean", "p50": "median", "p99": "p99"}
    return {f"{m}_{q}": found[f"{word}_{m}_ms"] / 1e3 for m in ("ttft", "tpot", "e2el") for q, word in words.items()}


def of_guidellm(folder: Path) -> dict[str, float]:
    metrics = json.loads((folder / "guidellm.json").read_text())["benchmarks"][0]["metrics"]
    names = {"ttft": ("time_to_first_token_ms", 1e-3), "e2el": ("request_latency", 1.0)}
    found = {}
    for name, (theirs, unit) in names.items():
        part = metrics[theirs]["successful"]
        values = {"mean": part["mean"], "p50": part["median"], "p99": part["percentiles"]["p99"]}
        found |= {f"{name}_{q}": value * unit for q, value in values.items()}
    return found


def of_aiperf(folder: Path) -> dict[str, float]:
    found = json.loads(next(folder.rglob("profile_export_aiperf.json")).read_text())
    names = {"ttft": "time_to_first_token", "tpot": "inter_token_latency", "e2el": "request_latency"}
    words = {"mean": "avg", "p50": "p50", "p99": "p99"}
    return {f"{m}_{q}": found[theirs][word] / 1e3 for m, theirs in names.items() for q, word in words.items()}


def of_inference_perf(folder: Path) -> dict[str, float]:
    found = json.loads(next(folder.rglob("summary_lifecycle_metrics.json")).read_text())["successes"]["latency"]
    names = {"ttft": "time_to_first_token", "tpot": "time_per_output_token", "e2el": "request_latency"}
    words = {"mean": "mean", "p50": "median", "p99": "p99"}
    return {f"{m}_{q}": found[theirs][word] for m, theirs in names.items() for q, word in words.items()}


CLIENTS = (
    Client(name="vllm", command=vllm, result="vllm.json", own=of_vllm),
    Client(name="guidellm", command=guidellm, result="guidellm.json", own=of_guidellm),
    Client(name="aiperf", command=aiperf, result="profile_export.jsonl", own=of_aiperf),
    Client(
        name="inference-perf", command=inference_perf, result="per_request_lifecycle_metrics.json",
        own=of_inference_perf,
    ),
)  # fmt: skip


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer of three-letter words in the form of the ``tokenizers`` package; an unknown word is one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [
        "unk",
        *("".join(each) for each in itertools.islice(itertools.product(string.ascii_lowercase, repeat=3), 4000)),
    ]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys([*words, "token"]))}
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "unk"},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(document))
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))
    return folder


def first(words: list[str], realtime: int | None) -> list[str]:
    return words if realtime is None else ["chrt", "-r", str(realtime), *words]


def served(folder: Path, port: int, *, realtime: bool) -> "subprocess.Popen[str]":
    """The endpoint, once it answers."""
    (folder / "plan.toml").write_text(PLAN)
    words = [sys.executable, "-m", "secondorder", "emulate", str(folder / "plan.toml"), "--port", str(port)]
    words += ["--record", str(folder / RECORD)]
    endpoint = subprocess.Popen(first(words, 6 if realtime else None), stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        if endpoint.poll() is not None:
            raise SystemExit(endpoint.communicate()[1].strip())
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return endpoint
    endpoint.kill()
    raise SystemExit("the endpoint did not answer within a minute")


def measured(client: Client, program: str, run: Run, *, realtime: bool) -> str:
    """Run a client against an endpoint of its own; what the endpoint says of its lateness and of what it answered."""
    run.folder.mkdir(parents=True, exist_ok=True)
    endpoint = served(run.folder, int(run.url.rsplit(":", 1)[1]), realtime=realtime)
    words = first([program, *client.command(run)], 5 if realtime else None)
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    keep = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
    try:
        with (run.folder / "client.log").open("w") as log:
            status = subprocess.run(
                words, env=keep | quiet, cwd=run.folder, stdout=log, stderr=log, timeout=900, check=False
            ).returncode
    finally:
        endpoint.terminate()  # a shell's background job ignores SIGINT, and so do its children
        said = endpoint.communicate(timeout=60)[1].strip().splitlines()
    if status:
        raise SystemExit(f"{client.name} ended with {status}: see {run.folder / 'client.log'}")
    return "\n".join(line for line in said if "late by" in line or "answered" in line)


def result(client: Client, folder: Path) -> MeasuredRun:
    """What the client wrote."""
    found = so.read_run(next(folder.rglob(client.result)))
    if not isinstance(found, MeasuredRun):
        raise SystemExit(f"{client.result} has no requests")
    return found


def reached(folder: Path, measured: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the endpoint recorded and what ``simulate`` says of it, without what a client sends first to try it.

    In the order of the client's rows: requests of the same lengths in order of arrival.
    """
    record = pd.read_csv(folder / RECORD)
    offered = Requests(
        arrival=record["arrival_s"].to_numpy(float),
        input_tokens=record["input_tokens"].to_numpy(int),
        output_tokens=record["output_tokens"].to_numpy(int),
    )
    scenario = so.Serving(
        model=MODEL, accelerator=CARD, arrivals=Trace(name="emulated", requests=offered), step_time=TRUTH
    )
    simulated = run_engine(scenario, offered).requests
    print(f"engine less simulate, most: {(record['e2el_s'] - simulated['e2el']).abs().max() * 1e9:.3g} ns")
    keys = [numbered(frame) for frame in (record.tail(len(measured)), measured)]
    place = pd.Series(keys[0].index, index=pd.MultiIndex.from_frame(keys[0]))
    try:
        order = place.loc[pd.MultiIndex.from_frame(keys[1])]
    except KeyError:
        raise SystemExit("the lengths in the client's file are not those that reached the engine") from None
    engine = record.loc[order].rename(columns={"ttft_s": "ttft", "tpot_s": "tpot", "e2el_s": "e2el"})
    return engine.reset_index(drop=True), simulated.loc[order].reset_index(drop=True)


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Lengths, and which one of several requests with them."""
    lengths = frame[["input_tokens", "output_tokens"]].astype(int)
    return lengths.assign(which=lengths.groupby(["input_tokens", "output_tokens"]).cumcount())


def within(client: Client, first: Path, second: Path) -> None:
    """Print whether the second run's summary is what ``simulate`` says, within the overhead of the first."""
    before, found = result(client, first).requests, result(client, second).requests
    (engine, _), (answers, simulated) = reached(first, before), reached(second, found)
    sooner = np.median(found["arrival"] - answers["arrival_s"]) - (found["arrival"] - answers["arrival_s"]).iloc[0]
    print(f"the first request reached the engine {sooner * 1e3:+.1f} ms later after its stamp than the median one")
    own, own_before = client.own(second), client.own(first)
    rows = []
    for metric in ("ttft", "tpot", "e2el"):
        overhead = (before[metric] - engine[metric]).dropna()
        defined = own_before.get(f"{metric}_mean", before[metric].mean()) - before[metric].mean()
        overhead += defined
        for word in ("mean", "p50", "p99"):
            if (name := f"{metric}_{word}") in own:
                low, high = bounds(simulated[metric].dropna(), word)
                inside = low + overhead.min() <= own[name] <= high + overhead.max()
                rows.append((name, own[name], low, high, overhead.min(), overhead.max(), inside))
        apart = float(found[metric].mean() + defined - simulated[metric].mean())
        spread = half_width(overhead.to_numpy(), len(found))
        print(f"{metric} beyond simulate, mean {apart * 1e3:+.2f} ms; overhead of the first run", end=" ")
        print(
            f"{overhead.mean() * 1e3:+.2f} +- {spread * 1e3:.2f} ms, p99 {overhead.quantile(0.99) * 1e3:.2f}", end=" "
        )
        print("ms: inside" if abs(apart - overhead.mean()) <= spread else "ms: OUTSIDE")
    names = ["figure", "client", "simulate", "(next value)", "overhead least", "most", "inside"]
    table = pd.DataFrame(rows, columns=names)
    print(table.round(5).to_string(index=False))
    print(f"{table['inside'].sum()} of {len(table)} figures inside, by least and most of {len(before)} overheads")


def half_width(overhead: Floats, count: int) -> float:
    """Of the 95 % range of the mean of ``count`` further overheads about that of these, by batch means.

    *Source*: Law 2015, section 9.5.3; Student's t with one degree of freedom less than batches.
    """
    from scipy.stats import t

    size = int(len(overhead) ** 0.5)
    means = overhead[: len(overhead) // size * size].reshape(-1, size).mean(axis=1)
    deviation = float(means.std(ddof=1)) * size**0.5
    return float(t.ppf(0.975, len(means) - 1)) * deviation * (1 / len(overhead) + 1 / count) ** 0.5


def bounds(values: pd.Series, word: str) -> tuple[float, float]:
    """The figure, or the two values between which clients place the quantile."""
    if word == "mean":
        return float(values.mean()), float(values.mean())
    share = {"p50": 0.5, "p99": 0.99}[word]
    low, high = (float(values.quantile(share, interpolation=side)) for side in ("lower", "higher"))
    return low, high


def judged(client: Client, folder: Path) -> None:
    """Print what the file of a client gives by itself."""
    found = result(client, folder)
    scenario = found.scenario(MODEL, CARD, step_time=TRUTH)
    laid = replay(found, scenario)
    ours, simulated = summary(laid.measured), summary(laid.simulated)
    table = pd.DataFrame({"client": dict(client.own(folder)), "read": ours, "simulate": simulated}, index=list(ours))
    table["apart"] = table["read"] - table["simulate"]
    table["relative"] = table["apart"] / table["simulate"]
    print("its own arrivals, simulated:")
    print(table.round(4).to_string())
    fit = so.calibrate(found, model=MODEL, accelerator=CARD)
    print(told(fit))
    found_step, true_step = (each.seconds(scenario.placement) for each in (fit.step_time, TRUTH))
    errors = np.array([float(found_step(*batch) / true_step(*batch) - 1) for batch in BATCHES])
    print(f"worst figure replayed {fit.worst('fitted'):.1%}; steps: decodes {errors[:8].min():+.1%} to", end=" ")
    print(f"{errors[:8].max():+.1%}, with a prompt {errors[8:].min():+.1%} to {errors[8:].max():+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for client in CLIENTS:
        parser.add_argument(f"--{client.name}", default=shutil.which(client.name), help="its executable")
    parser.add_argument("--requests", type=int, default=80, help="requests of the second run")
    parser.add_argument("--first", type=int, default=240, help="requests of the first run")
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--users", type=int, help="users of a closed loop, instead of the rate")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--keep", type=Path, help="folder for what the clients write, read again if it is there")
    parser.add_argument("--realtime", action="store_true")
    options = vars(parser.parse_args())
    root: Path = options["keep"] or Path(tempfile.mkdtemp(prefix="real_clients"))
    tokenizer = write_tokenizer(root.absolute() / "tokenizer")
    url = f"http://127.0.0.1:{options['port']}"
    for client in CLIENTS:
        program: Any = options[client.name.replace("-", "_")]
        print(f"\n{client.name}:", end=" ")
        folders = {name: root.absolute() / client.name / name for name in ("first", "second")}
        if not program and not all(any(each.rglob(client.result)) for each in folders.values()):
            print(f"skipped, as no {client.name} is installed; name it with --{client.name}")
            continue
        for seed, (name, folder) in enumerate(folders.items(), 1):
            if not any(folder.rglob(client.result)):
                count = options["first"] if name == "first" else options["requests"]
                run = Run(
                    url=url, tokenizer=tokenizer, folder=folder, requests=count, rate=options["rate"],
                    users=options["users"], seed=seed,
                )  # fmt: skip
                said = measured(client, program, run, realtime=options["realtime"])
                (folder / "endpoint.txt").write_text(said)
            print(f"{name}: {(folder / 'endpoint.txt').read_text()}")
        within(client, folders["first"], folders["second"])
        judged(client, folders["second"])


if __name__ == "__main__":
    main()
