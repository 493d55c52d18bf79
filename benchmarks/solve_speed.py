"""How long `solve` of a service takes, and whether its figures are still those of an earlier version.

    python benchmarks/solve_speed.py --save before.json       (with the earlier version)
    python benchmarks/solve_speed.py --against before.json    (with this one)
    python benchmarks/solve_speed.py                          (times alone, in `make bench`)

`--markdown` prints the table of `docs/speed.md`.

The services: those of the README and the documentation, and random ones (`serving_accuracy.service`). Each is solved
where nothing is cached yet of it, once more at a rate 1 % higher, and once more unchanged. Times are those of the
processor, so that other work on the machine does not count.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from serving_accuracy import service

import secondorder as so
from secondorder.analytic.serving.saturation import saturation
from secondorder.validation.loads import LINE

FIGURE_TOLERANCE = 0.002
"""Relative change of a figure that counts as none."""
FIELDS = [
    "arrivals.rate",
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
    "step_time.compute_efficiency",
]
NEARBY = 1.01
"""Factor between the rate of a service and its neighbour."""


class Row(TypedDict):
    """What was measured of one service: its rate (request/s), times (s) and figures by ``metric/order``."""

    rate: float
    first: float
    nearby: float
    again: float
    figures: dict[str, float]


def documented() -> dict[str, so.Serving]:
    """The services of the README, the demo and the documentation."""
    chat = so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("8 request/s"),
        lengths=so.lengths.azure_conv_2023,
        name="conversations",
    )
    fixed = so.Lengths(input=1024, output=256)
    geometric = so.Lengths(input=so.Geometric(512), output=so.Geometric(256))
    return {
        **{
            f"conversations at {rate}/s": replace(chat, arrivals=so.Poisson(f"{rate} request/s"))
            for rate in (2, 8, 16, 24, 28)
        },
        "code at 8/s": replace(chat, lengths=so.lengths.azure_code_2023),
        "1024/256": replace(chat, lengths=fixed),
        "geometric": replace(chat, lengths=geometric),
        "8 slots": replace(chat, max_num_seqs=8, arrivals=so.Poisson("2 request/s")),
        "8 ranks of experts": replace(
            chat,
            model=so.models.qwen3_30b_a3b,
            data_parallel_size=8,
            enable_expert_parallel=True,
            step_time=so.MeasuredRoofline(),
        ),
        "budget 512": replace(chat, max_num_batched_tokens=512, arrivals=so.Poisson("6 request/s")),
    }


def services(count: int, rates: dict[str, float]) -> dict[str, so.Serving]:
    """The documented services and ``count`` random ones, at given rates where there are any."""
    found = documented()
    for number in range(1000, 1000 + count):
        one, _ = service(number)
        found[one.name] = one
    return {
        name: replace(one, arrivals=so.Poisson(f"{rates.get(name, one.rate)!r} request/s"))
        for name, one in found.items()
    }


def measured(scenario: so.Serving) -> Row:
    """Times and figures of one service."""
    times = []
    nearby = replace(scenario, arrivals=so.Poisson(f"{scenario.rate * NEARBY!r} request/s"))
    answers = []
    for one in (scenario, nearby, scenario):
        start = time.process_time()
        try:
            answers.append(so.solve(one))
        except so.errors.Unstable:
            answers.append(answers[0])
        times.append(time.process_time() - start)
    figures = {f"{e.metric}/{e.order}": e.amount for e in answers[0].estimates}
    return Row(rate=scenario.rate, first=times[0], nearby=times[1], again=times[2], figures=figures)


def on_the_way() -> list[tuple[str, float]]:
    """What asks for many solutions, and its time (s): the lines of the demo, a sensitivity over five fields."""
    chat = documented()["conversations at 8/s"]
    limit = saturation(chat).rate
    start = time.process_time()
    for load in LINE:
        so.solve(replace(chat, arrivals=so.Poisson(f"{load * limit!r} request/s")))
    lines = time.process_time() - start
    start = time.process_time()
    so.sensitivity(chat, "ttft_p99", FIELDS)
    return [("the demo's lines", lines), ("sensitivity of a p99 over five fields", time.process_time() - start)]


def in_columns(cells: Sequence[str], *, markdown: bool) -> str:
    """A row of the table."""
    if markdown:
        return "| " + " | ".join(cells) + " |"
    return f"{cells[0]:<30}" + "".join(f"{cell:>8}" for cell in cells[1:6]) + "  " + " ".join(cells[6:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=8, help="random ones")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    before: dict[str, Row] = json.loads(options.against.read_text()) if options.against else {}
    so.solve(documented()["1024/256"])  # imports and tables are not counted
    after: dict[str, Row] = {}
    moved: list[tuple[float, str, str]] = []
    print("Milliseconds of processor time of a solution, now and before, and the figure that changed most:\n")
    header = ["service", "first", "before", "rate+1%", "before", "again", "change"]
    print(in_columns(header, markdown=options.markdown))
    print("|" + " --- |" * len(header) if options.markdown else "")
    for name, scenario in services(options.services, {k: row["rate"] for k, row in before.items()}).items():
        row = after[name] = measured(scenario)
        cells = [
            name,
            f"{1e3 * row['first']:.0f}",
            "",
            f"{1e3 * row['nearby']:.0f}",
            "",
            f"{1e3 * row['again']:.1f}",
            "",
        ]
        if name in before:
            old = before[name]["figures"]
            changes = [(row["figures"][k] / old[k] - 1, name, k) for k in old if k in row["figures"] and old[k]]
            moved += changes
            largest = max(changes, key=lambda each: abs(each[0]))
            cells[2], cells[4] = (f"{1e3 * before[name][key]:.0f}" for key in ("first", "nearby"))
            cells[6] = f"{largest[0]:+.2%} {largest[2]}"
        print(in_columns(cells, markdown=options.markdown), flush=True)
    for key in ("first", "nearby"):
        times = sorted(row[key] for row in after.values())
        print(f"\n{key}: median {1e3 * times[len(times) // 2]:.0f} ms, worst {1e3 * times[-1]:.0f} ms")
    for what, seconds in on_the_way():
        print(f"\n{what}: {seconds:.2f} s")
    if before:
        same = sum(abs(change) <= FIGURE_TOLERANCE for change, *_ in moved)
        print(f"\n{same} of {len(moved)} figures within {FIGURE_TOLERANCE:.1%}; those that moved most:\n")
        for change, name, key in sorted(moved, key=lambda each: -abs(each[0]))[:20]:
            print(f"    {change:+8.2%}  {key:<22} {name}")
    if options.save:
        options.save.write_text(json.dumps(after))


if __name__ == "__main__":
    main()
