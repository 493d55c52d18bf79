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
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
SIZES = {"laptop": (1280, 800), "projector": (1024, 768)}
NAMES = list(labs()) if os.environ.get("SECONDORDER_LABS") == "all" else ["knee", "checkpoints"]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=NAMES)
def served(request):
    """A lab that is served; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "secondorder", "lab", request.param, "--port", str(port), "--no-browser"]
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


def test_a_lab_follows_each_slider_and_asks_nothing_of_the_network(served, browser, tmp_path):
    page = browser.new_page(viewport=dict(zip(("width", "height"), SIZES["laptop"], strict=True)))
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(served)
    page.wait_for_selector("img[alt]", timeout=240_000)
    for place in range(page.locator("[role=slider]").count()):
        before = page.locator("img[alt]").first.get_attribute("src")
        page.locator("[role=slider]").nth(place).focus()
        page.keyboard.press("ArrowRight")
        moved = "src => document.querySelector('img[alt]')?.getAttribute('src') !== src"
        page.wait_for_function(moved, arg=before, timeout=90_000)
    for width, height in SIZES.values():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / "lab.png")
    page.close()
    assert errors == []
    assert all(url.startswith((served, "data:", "blob:", served.replace("http", "ws"))) for url in asked)


def test_a_prediction_gets_its_score(served, browser):
    page = browser.new_page()
    page.goto(served)
    page.get_by_role("spinbutton").or_(page.locator("input")).first.fill("15")
    page.get_by_text("That is my prediction").click()
    page.wait_for_selector("text=of 10 points", timeout=30_000)
    page.close()
