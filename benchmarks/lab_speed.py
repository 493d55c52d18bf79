"""How soon a lab can be used after its command starts, and how soon its figure follows a slider, in headless Chromium.

    python benchmarks/lab_speed.py [NAME ...] [--shots DIR]

All the labs if none is named. "opens" is the time from opening the page, as soon as its server answers, to the figure
in it, in a browser that runs already; beside it stands the time since the command was started. "reacts" is the time
from a key on a slider to the new figure, over moves to places not shown before. The seconds of the processor stand in
brackets beside those of the clock, for machines that are shared. For "opens" they are those of the busier of two
processes, the server and the one that draws for it; for "reacts" those of both.
``--shots`` keeps a picture of each lab on the screen of a laptop and of a projector.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from secondorder.labs.lab import Lab, Slider
from secondorder.labs.registry import lab_of, labs

OPENS, REACTS = 3.0, 0.5
"""Bars, in seconds."""
MOVES = 5
SIZES = {"laptop": (1280, 800), "projector": (1920, 1080)}
SRC = "document.querySelector('img[alt]')?.getAttribute('src')"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Seconds of the clock and of the processor."""

    clock: float
    processor: float


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(labs()))
    parser.add_argument("--shots", type=Path)
    given = parser.parse_args()
    print(f"bars: opens in {OPENS} s, reacts in {REACTS} s; medians and worst of {MOVES} moves; processor in brackets")
    with sync_playwright() as play:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name in given.names:
            _measure(browser, lab_of(name), given.shots)
        browser.close()


def _measure(browser: Any, lab: Lab, shots: Path | None) -> None:
    """Open one lab by its command, move each of its sliders, and print both times."""
    width, height = SIZES["laptop"]
    page = browser.new_page(viewport={"width": width, "height": height})
    with _served(lab) as (process, port, begun):
        asked = _goto(page, f"http://127.0.0.1:{port}")
        usable = time.perf_counter()
        opened = Taken(clock=usable - asked, processor=max(_used(process)))
        told = f"{_told([opened], OPENS)}  {usable - begun:.2f} s since the command"
        print(f"{lab.number:2} {lab.name:<14} opens  {told}", flush=True)
        if shots is not None:
            _keep(page, lab, shots)
        for place, slider in enumerate(lab.sliders):
            key = "ArrowRight" if slider.high - slider.value >= slider.value - slider.low else "ArrowLeft"
            moves = [_move(page, place, key, process) for _ in range(min(MOVES, _steps(slider)))]
            print(f"{'':17} reacts {_told(moves, REACTS)}  {slider.label}", flush=True)
    page.close()


def _steps(slider: Slider) -> int:
    """Steps from where a slider stands to its farther end."""
    return round(max(slider.high - slider.value, slider.value - slider.low) / slider.step)


@contextmanager
def _served(lab: Lab) -> Iterator[tuple["subprocess.Popen[bytes]", int, float]]:
    """The command of a lab: its process, port and start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "secondorder", "lab", lab.name, "--port", str(port), "--no-browser"]
    begun = time.perf_counter()
    process = subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        yield process, port, begun
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _goto(page: Any, address: str) -> float:
    """Load a page as soon as its server answers, and wait for the figure; when the server answered."""
    port = int(address.rpartition(":")[2])
    while True:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.01)
    asked = time.perf_counter()
    page.goto(address, timeout=240_000)
    page.wait_for_function(f"{SRC} && document.querySelector('img[alt]').complete", timeout=240_000)
    return asked


def _move(page: Any, place: int, key: str, process: "subprocess.Popen[bytes]") -> Taken:
    """Move a slider by one step with a key, and wait for the new figure."""
    slider, before = page.locator("[role=slider]").nth(place), page.evaluate(SRC)
    own, begun = sum(_used(process)), time.perf_counter()
    slider.press(key)
    script = f"before => {SRC} && {SRC} !== before && document.querySelector('img[alt]').complete"
    page.wait_for_function(script, arg=before, timeout=90_000)
    return Taken(clock=time.perf_counter() - begun, processor=sum(_used(process)) - own)


def _used(process: "subprocess.Popen[bytes]") -> list[float]:
    """Seconds of processor time of the server and of the process that draws for it."""
    used = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == process.pid:  # its process group
            used.append((int(fields[11]) + int(fields[12])) / TICKS)
    return used


def _told(taken: list[Taken], bar: float) -> str:
    clocks, processors = [each.clock for each in taken], [each.processor for each in taken]
    typical = f"{median(clocks):.2f} s [{median(processors):.2f}]"
    worst = f", worst {max(clocks):.2f} s [{max(processors):.2f}]" if len(taken) > 1 else ""
    return f"{typical}{worst} {'met' if max(clocks) < bar else 'MISSED'}"


def _keep(page: Any, lab: Lab, shots: Path) -> None:
    shots.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        page.screenshot(path=shots / f"{lab.number:02}_{lab.name}_{size}.png")
        page.screenshot(path=shots / f"{lab.number:02}_{lab.name}_{size}_full.png", full_page=True)


if __name__ == "__main__":
    main()
