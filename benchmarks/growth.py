"""How the cost of the compiled kernels grows: with requests, with sequence slots, and with the ranks of a ring.

    python benchmarks/growth.py docs/growth.png

Seconds are those of the processor. Load and lengths stay the same along a line; the slots are half taken.
"""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from timing import seconds

import secondorder as so
from secondorder.report.style import BLUE, GREEN, ORANGE, blank, save, styled
from secondorder.scenarios.serving import Serving
from secondorder.simulate import serving
from secondorder.simulate.kernels.ring import finish
from secondorder.simulate.kernels.serving.run import record

SERVICE = Serving(
    model=so.models.llama_3_1_8b,
    accelerator=so.accelerators.h100_sxm,
    arrivals=so.Poisson("10 request/s"),
    lengths=so.lengths.azure_conv_2023,
)
BY_EVENTS = 3_000
"""Requests of the engine on SimPy."""
Line = dict[int, float]


def with_requests() -> dict[str, Line]:
    """Requests per second by the number of requests."""
    kernel, cached = {}, {}
    for count in (1_000, 10_000, 100_000, 1_000_000, 3_000_000):
        kernel[count] = served(SERVICE, count)
    for count in (1_000, 10_000, 100_000):
        cached[count] = served(replace(SERVICE, enable_prefix_caching=True), count)
    events = {count: by_events(SERVICE, count) for count in (300, BY_EVENTS)}
    return {"kernel": kernel, "kernel, prefix cache": cached, "SimPy engine": events}


def with_slots() -> dict[str, Line]:
    """Requests per second by the sequences that may run at once."""
    places = (8, 32, 128, 512, 2048)
    return {
        "kernel": {slots: served(half_full(slots), 300_000) for slots in places},
        "SimPy engine": {slots: by_events(half_full(slots), BY_EVENTS) for slots in places},
    }


def half_full(slots: int) -> Serving:
    """A service whose load takes half of its slots; a step takes 5 ms whatever is in it."""
    return replace(
        SERVICE,
        lengths=so.Lengths(input=64, output=so.Geometric(256)),
        max_num_seqs=slots,
        step_time=so.Affine(per_step=5e-3, per_prefill_token=1e-8, per_decode=1e-9),
        arrivals=so.Poisson(f"{0.5 * slots / (256 * 5e-3)} request/s"),
    )


def with_ranks() -> dict[str, Line]:
    """Hops per second of a jittered ring all-reduce by its ranks."""
    rates = {}
    for ranks in (8, 64, 512, 2048):
        hops = np.random.default_rng(1).exponential(size=(max(1, 2_000_000 // (2 * ranks**2)), 2 * (ranks - 1), ranks))
        rates[ranks] = hops.size / cost(lambda h=hops, n=ranks: finish(np.zeros(n), h))
    return {"kernel": rates}


def served(scenario: Serving, count: int) -> float:
    asked = serving.draw(scenario, count, 1)
    return count / cost(lambda: record(scenario, asked, records=False))


def by_events(scenario: Serving, count: int) -> float:
    asked = serving.draw(scenario, count, 1)
    return count / cost(lambda: serving.record(scenario, asked))


def cost(action: Callable[[], object]) -> float:
    """Seconds of one call, from enough calls to be measured."""
    action()
    once = max(seconds(action, repeats=1), 1e-6)
    calls = max(1, int(0.05 / once))
    return seconds(lambda: [action() for _ in range(calls)], repeats=2) / calls


@styled
def draw(panels: dict[str, dict[str, Line]], file: str) -> None:
    figure = blank(10.5, 3.6)
    colours = {"kernel": BLUE, "kernel, prefix cache": GREEN, "SimPy engine": ORANGE}
    for axes, (name, lines) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for label, line in lines.items():
            axes.loglog(list(line), list(line.values()), "o-", color=colours[label], label=label, markersize=4)
        axes.set_xlabel(name)
        axes.set_ylabel("hops per second" if "ranks" in name else "requests per second")
        rates = [rate for line in lines.values() for rate in line.values()]
        axes.set_ylim(10 ** np.floor(np.log10(min(rates))) / 2, 10 ** np.ceil(np.log10(max(rates))))
        axes.yaxis.set_minor_formatter("")
        axes.legend()
    save(figure, file)


def main() -> None:
    panels = {"requests": with_requests(), "sequence slots": with_slots(), "ranks of a ring": with_ranks()}
    for name, lines in panels.items():
        for label, line in lines.items():
            print(f"{name:<16} {label:<21}" + "  ".join(f"{at:,}: {rate:,.0f}/s" for at, rate in line.items()))
    if sys.argv[1:]:
        draw(panels, sys.argv[1])


if __name__ == "__main__":
    main()
