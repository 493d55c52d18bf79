"""Claims about the labs in a real browser: sliders move the figure, nothing is asked of the network, nothing is cut."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import secondorder as so
from secondorder.labs.registry import labs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [name for name in ("marimo", "playwright") if find_spec(name) is None] + ["chromium"] * (CHROMIUM is None)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.xdist_group("browser"),  # one server and one browser for all labs
]
LABS = list(labs().values())
SIZES = {"laptop": (1280, 800), "projector": (1024, 768)}
SHOTS = os.environ.get("SECONDORDER_SHOTS")
"""Folder for a screenshot of each lab at each size, to be looked at."""
FIGURE = "img[alt]"
SRC = f"document.querySelector('{FIGURE}')?.getAttribute('src')"
DOTS = f"""() => {{
  const image = document.querySelector('{FIGURE}'), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data, found = [];
  for (let k = 0; k < pixels.length; k += 4)
    if (pixels[k] === 213 && pixels[k + 1] === 94 && pixels[k + 2] === 0) found.push(k / 4);
  return found.join();
}}"""
"""The places of the pixels that have the colour of simulated dots and their bars."""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def served():
    """The address of a server of all labs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "secondorder", "lab", "all", "--port", str(port), "--no-browser"]
    root = Path(so.__file__).parents[1]
    process = subprocess.Popen(words, cwd=root, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait_for(port):
    until = time.monotonic() + 240
    while time.monotonic() < until:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(port)


@pytest.fixture
def page(browser):
    """A page that keeps what it asked of a network, and its errors."""
    width, height = SIZES["laptop"]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_navigation_timeout(240_000)  # the first simulation may have to compile its kernels
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    yield page
    page.close()


def opened(page, served, lab):
    """The page of a lab, once its figure is there."""
    page.goto(f"{served}/?file={lab.name}.py")
    page.wait_for_selector(FIGURE, timeout=240_000)


def push(page, place):
    """Move a slider by one step, and wait until the figure is another."""
    before, slider = page.evaluate(SRC), page.locator("[role=slider]").nth(place)
    at_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    slider.press("ArrowLeft" if at_end else "ArrowRight")
    page.wait_for_function(f"before => {SRC} && {SRC} !== before", arg=before, timeout=90_000)
    page.wait_for_function(f"document.querySelector('{FIGURE}').complete")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_dots_of_a_lab_follow_its_sliders_offline_and_nothing_is_cut(page, served, lab):
    opened(page, served, lab)
    assert page.locator("[role=slider]").count() == len(lab.sliders)
    still = []
    for place, slider in enumerate(lab.sliders):
        before = page.evaluate(DOTS)
        assert before, "no dots"
        push(page, place)
        if page.evaluate(DOTS) == before:
            still.append(slider.name)
    assert still == [], "these sliders leave the dots where they are"
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(f"document.querySelector('{FIGURE}').getBoundingClientRect().right") <= width
        if SHOTS:
            page.wait_for_timeout(300)
            page.screenshot(path=Path(SHOTS) / f"{lab.number:02}_{lab.name}_{size}.png")
    assert page.errors == []
    assert all(url.startswith((served, "data:", "blob:", served.replace("http", "ws"))) for url in page.asked)


def test_a_prediction_gets_its_score(page, served):
    opened(page, served, LABS[0])
    field = page.get_by_role("spinbutton").or_(page.locator("input")).first
    field.fill("15")
    field.press("Enter")
    page.wait_for_selector("text=of 10 points", timeout=30_000)


def test_the_first_page_links_to_each_lab(page, served):
    page.goto(served)
    for lab in LABS:
        page.wait_for_selector(f"a[href*='{lab.name}.py']", timeout=30_000)
    assert page.errors == []
