"""How near order 2 of a service comes to its simulation, on random services.

    python benchmarks/serving_accuracy.py [--services 8] [--first 0] [--requests 16000] [--jobs 1]
    python benchmarks/serving_accuracy.py --whole --markdown
    python benchmarks/serving_accuracy.py --asynchronous --services 60 --first 4000 --requests 60000

Models, accelerators, slots, token budgets, lengths and loads are drawn; arrivals are Poisson. A figure is *right*
where it lies within 10 % of the simulated value or in its 95 % interval (8 runs). Of each metric: the mean error of
the figures inside their domain, and the share within 5 and 10 %. A service that is outside is not simulated. `--whole`
draws 200 services and simulates 800,000 requests of each; `--markdown` prints the table of `docs/service_accuracy.md`.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import secondorder as so
from secondorder.analytic.serving.saturation import saturation
from secondorder.executor import run_each

MARGIN, REPLICATIONS = 0.1, 8
BAR = 0.95
"""Share of the figures inside their domain that is to be right."""
PAIRS = (
    ("llama_3_1_8b", "h100_sxm", 1),
    ("llama_3_1_8b", "a100_80gb", 1),
    ("llama_3_1_8b", "l4", 1),
    ("llama_3_1_8b", "l40s", 1),
    ("llama_3_1_70b", "h100_sxm", 4),
    ("llama_3_1_70b", "h200", 2),
    ("qwen2_5_7b", "a10", 1),
    ("qwen2_5_14b", "a100_80gb", 1),
    ("qwen3_30b_a3b", "h100_sxm", 1),
    ("mixtral_8x7b", "h100_sxm", 2),
    ("qwen2_5_0_5b", "l4", 1),
    ("mistral_7b", "rtx_4090", 1),
    ("qwen3_32b", "b200", 1),
    ("qwen3_8b", "mi300x", 1),
)
NARROW = 0.02
"""Half-width of a simulated interval up to which a figure counts in the table."""
METRICS = [f"{name}_{of}" for name in ("ttft", "tpot", "e2el") for of in ("mean", "p50", "p90", "p99")]


def lengths(rng: np.random.Generator) -> Any:
    """Fixed, geometric, lognormal, or those of a production trace."""
    prompt, answer = (int(np.exp(rng.uniform(np.log(low), np.log(high)))) for low, high in ((50, 2000), (20, 600)))
    spread = float(rng.choice([0.5, 1.0, 1.5]))
    wide = so.LogNormal(prompt, cv=spread, maximum=16_000)
    laws = [
        so.Lengths(input=prompt, output=answer),
        so.Lengths(input=so.Geometric(prompt), output=so.Geometric(answer)),
        so.Lengths(input=wide, output=so.Geometric(answer)),
        so.Lengths(input=wide, output=so.LogNormal(answer, cv=spread, maximum=8_000)),
        so.lengths.azure_conv_2023,
        so.lengths.azure_code_2023,
    ]
    return laws[rng.integers(len(laws))]


def service(number: int) -> tuple[so.Serving, float]:
    """The random service of this number, and its load as a share of saturation."""
    rng = np.random.default_rng([2026, number])
    model, accelerator, ranks = PAIRS[rng.integers(len(PAIRS))]
    scenario = so.Serving(
        model=so.models[model],
        accelerator=so.accelerators[accelerator],
        tensor_parallel_size=ranks,
        arrivals=so.Poisson("1 request/s"),
        lengths=lengths(rng),
        max_num_seqs=int(rng.choice([8, 16, 32, 64, 128, 256])),
        max_num_batched_tokens=int(rng.choice([512, 1024, 2048, 4096, 8192])),
        enable_prefix_caching=False,
        async_scheduling=False,
        name=f"{number:>3} {model} on {accelerator}",
    )
    load = float(rng.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
    return replace(scenario, arrivals=so.Poisson(f"{load * saturation(scenario).rate!r} request/s")), load


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of order 2: its relative error, half the width of the simulated interval, whether it is right."""

    metric: str
    in_domain: bool
    error: float
    unsure: float
    right: bool


def asynchronous(scenario: so.Serving, load: float) -> so.Serving:
    """The same with a step scheduled while another runs, at the same share of its saturation."""
    changed = replace(scenario, async_scheduling=True)
    return replace(changed, arrivals=so.Poisson(f"{load * saturation(changed).rate!r} request/s"))


def figures(number: int, requests: int, ahead: bool = False) -> tuple[str, float, list[Figure]]:
    """The name of a random service, its load, and its figures of order 2 against simulation, if any is inside."""
    scenario, load = service(number)
    if ahead:
        scenario = asynchronous(scenario, load)
    closed = so.solve(scenario)
    if not any(closed.best(metric).in_domain for metric in METRICS):
        return scenario.name, load, []
    simulated = so.simulate(scenario, seed=number, replications=REPLICATIONS, requests=requests)
    found = []
    for metric in METRICS:
        ours, truth = closed.best(metric), simulated.best(metric)
        error = ours.amount / truth.amount - 1
        assert truth.low is not None
        assert truth.high is not None
        right = abs(error) <= MARGIN or truth.low <= ours.amount <= truth.high
        unsure = (truth.high - truth.low) / 2 / truth.amount
        found.append(Figure(metric=metric, in_domain=ours.in_domain, error=error, unsure=unsure, right=right))
    return scenario.name, load, found


def table(inside: list[Figure]) -> list[list[str]]:
    """By metric: figures whose simulated interval is narrow, their mean error, how many are near, the worst."""
    rows = [["metric", "figures", "mean error", "within 5 %", "within 10 %", "worst"]]
    for metric in METRICS:
        found = np.array([f.error for f in inside if f.metric == metric and f.unsure < NARROW])
        if not len(found):
            continue
        near = [float((np.abs(found) <= bound).mean()) for bound in (0.05, 0.1)]
        worst = found[np.abs(found).argmax()]
        cells = [metric, str(len(found)), f"{found.mean():+.2%}", *(f"{share:.0%}" for share in near), f"{worst:+.1%}"]
        rows.append(cells)
    return rows


def markdown(rows: list[list[str]]) -> str:
    """Rows, the first of which is the header, as a table of Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def plain(rows: list[list[str]]) -> str:
    """Rows in columns."""
    return "\n".join(f"{first:<10}" + "".join(f"{cell:>13}" for cell in rest) for first, *rest in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=8)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--requests", type=int, default=16_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="200 services, 100,000 requests in each of the runs")
    parser.add_argument("--asynchronous", action="store_true", help="services that schedule a step while another runs")
    parser.add_argument("--markdown", action="store_true", help="only the tables, as Markdown")
    options = parser.parse_args()
    services, requests = (200, 100_000) if options.whole else (options.services, options.requests)
    inside: list[Figure] = []
    out = sys.stderr if options.markdown else sys.stdout
    print("order 2 against simulation, random services: load, domain, worst figure", file=out)
    numbers = range(options.first, options.first + services)
    run = partial(figures, requests=requests, ahead=options.asynchronous)
    for name, load, found in run_each(run, numbers, options.jobs):
        found = [figure for figure in found if figure.in_domain]
        worst = max(found, key=lambda each: abs(each.error), default=None)
        said = f"inside   {worst.metric} {worst.error:+.1%}" if worst else "outside"
        print(f"{name:<36} {load:4.0%}  {said}", flush=True, file=out)
        inside += found
    if not inside:
        print("none was inside its domain")
        return
    print(markdown(table(inside)) + "\n" if options.markdown else plain(table(inside)))
    right = sum(each.right for each in inside) / len(inside)
    worst = max(inside, key=lambda each: abs(each.error))
    print(f"Of {services} services {len(inside) // len(METRICS)} are inside the domain. Of their {len(inside)} figures")
    near = f"within {MARGIN:.0%} or in the interval (bar: {BAR:.0%})"
    print(f"{right:.1%} are {near}; the worst is off by {worst.error:+.1%}.")
    if right < BAR:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
