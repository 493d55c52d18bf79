"""A client of the emulated endpoint measures what the simulation of the same requests says."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import secondorder as so
from secondorder.cli import main
from secondorder.cli.endpoint import Endpoint, served
from secondorder.simulate.serving import run
from secondorder.simulate.serving.live import LiveEngine
from secondorder.validation.measured import MeasuredRun
from secondorder.workloads.traces import Trace

STEP = so.Affine(per_step=0.008, per_prefill_token=2e-5, per_decode=1e-4)


def scenario(**changes: Any) -> so.Serving:
    fields = {
        "model": so.models.llama_3_1_8b,
        "accelerator": so.accelerators.h100_sxm,
        "arrivals": so.Poisson("1 request/s"),
        "lengths": so.Lengths(input=100, output=20),
        "step_time": STEP,
        "max_num_batched_tokens": 512,
    }
    return so.Serving(**{**fields, **changes})


async def started(serving: so.Serving) -> tuple[LiveEngine, int, list[Any]]:
    engine = LiveEngine(serving)
    server = await asyncio.start_server(Endpoint(engine, "emulated").connection, "127.0.0.1", 0)
    task = asyncio.create_task(engine.run())
    return engine, server.sockets[0].getsockname()[1], [task, server]


async def asked(port: int, path: str, body: dict[str, Any] | None) -> tuple[str, bytes, list[float]]:
    """Status, body, and the time at which each event came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = json.dumps(body).encode() if body is not None else b""
    method = "GET" if body is None else "POST"
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
    status = (await reader.readline()).decode().strip()
    headers = b""
    while (line := await reader.readline()).strip():
        headers += line.lower()
    times, text = [], b""
    if b"chunked" in headers:
        while size := int(await reader.readline(), 16):
            text += await reader.readexactly(size)
            times.append(time.monotonic())
            await reader.readline()
    else:
        length = next(int(h.split(b":")[1]) for h in headers.split(b"\r\n") if h.startswith(b"content-length"))
        text = await reader.readexactly(length)
    writer.close()
    return status, text, times


async def load(serving: so.Serving, count: int) -> tuple[LiveEngine, list[tuple[float, float, int]]]:
    """Requests at random times; of each: time to first token, end to end, and tokens."""
    engine, port, owned = await started(serving)
    rng = np.random.default_rng(3)
    gaps, prompts, outputs = rng.exponential(0.03, count), rng.integers(50, 1500, count), rng.integers(2, 30, count)

    async def one(delay: float, prompt: int, output: int) -> tuple[float, float, int]:
        await asyncio.sleep(delay)
        began = time.monotonic()
        body = {"model": "emulated", "prompt": [1] * int(prompt), "max_tokens": int(output), "stream": True}
        _, text, times = await asked(port, "/v1/completions", body)
        tokens = text.count(b'"text": " token"')
        return times[0] - began, times[tokens - 1] - began, tokens

    found = await asyncio.gather(*(one(*each) for each in zip(gaps.cumsum(), prompts, outputs, strict=True)))
    owned[0].cancel()
    owned[1].close()
    return engine, found


@pytest.mark.parametrize("ahead", [False, True])
def test_a_client_measures_what_the_simulation_says(ahead: bool, tmp_path: Path) -> None:
    serving = scenario(async_scheduling=ahead)
    engine, seen = asyncio.run(load(serving, 40))
    trace = Trace(name="emulated", requests=engine.offered())
    replayed = run(scenario(arrivals=trace, lengths=None, async_scheduling=ahead), trace.requests).requests
    emulated = [(call.tokens[0] - call.arrival, call.tokens[-1] - call.arrival) for call in engine.calls]
    np.testing.assert_allclose(emulated, replayed[["ttft", "e2el"]], atol=1e-9)
    engine.answered().to_csv(tmp_path / "record.csv", index=False)
    record = so.read_run(tmp_path / "record.csv")
    assert isinstance(record, MeasuredRun)
    np.testing.assert_allclose(record.requests[["ttft", "e2el"]], emulated, atol=1e-9)
    assert all(tokens == call.ask.output for (_, _, tokens), call in zip(seen, engine.calls, strict=True))
    overhead = engine.overhead()
    for (first, end, _), (ours, last) in zip(seen, emulated, strict=True):
        assert first >= ours - 1e-3
        assert end >= last - 1e-3
    late = np.median([end - last for (_, end, _), (_, last) in zip(seen, emulated, strict=True)])
    assert late < overhead["most"] + 0.05  # a shared machine's sockets


def test_at_its_end_the_endpoint_tells_and_records_what_it_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def served_once(port: int, record: str) -> None:
        task = asyncio.create_task(served(scenario(async_scheduling=False), port, model="emulated", record=record))
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError):
                await asked(port, "/v1/completions", {"prompt": [1] * 100, "max_tokens": 3, "stream": True})
                break
            await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert task.cancelled()

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asyncio.run(served_once(port, str(tmp_path / "engine.csv")))
    signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err
    assert "1 requests; steps noticed late by" in said
    assert "the engine answered (ms): ttft mean 10.000, p50 10.000, p99 10.000; tpot mean 8.100" in said
    kept = (tmp_path / "engine.csv").read_text().splitlines()
    assert kept[0] == "arrival_s,input_tokens,output_tokens,ttft_s,tpot_s,e2el_s"
    assert kept[1].startswith("0.0,100,3,0.0")


def test_a_record_that_cannot_be_written_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[serving]\nmodel = "llama_3_1_8b"\naccelerator = "a10"\narrivals = "poisson 2 request/s"\n'
        'lengths = "azure_conv_2023"\n'
    )
    assert main(["emulate", str(plan), "--record", str(tmp_path / "none" / "x.csv")]) != 0
    assert "No such file or directory, expected a file to write" in capsys.readouterr().err


def test_the_calibration_of_an_emulated_run_gives_its_step_times_back() -> None:
    truth = so.MeasuredRoofline(memory_efficiency=0.7, bf16_efficiency=0.6, per_sequence="60 µs")
    engine, _ = asyncio.run(load(scenario(step_time=truth), 60))
    first, last = (np.array([call.tokens[place] - call.arrival for call in engine.calls]) for place in (0, -1))
    trace = Trace(name="emulated", requests=engine.offered())
    output = np.asarray(trace.requests.output_tokens)
    frame = run(scenario(arrivals=trace, lengths=None), trace.requests).requests.assign(
        ttft=first, e2el=last, tpot=(last - first) / (output - 1)
    )
    measured = MeasuredRun(name="emulated", trace=trace, requests=frame, settings={"max_num_batched_tokens": 512})
    fit = so.calibrate(measured, model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm)
    assert fit.worst("fitted") < 0.05
    placement = scenario().placement
    batch = (0, 0, 0, 8, 8 * 700, 8)
    assert fit.step_time.seconds(placement)(*batch) == pytest.approx(truth.seconds(placement)(*batch), rel=0.02)


def test_models_chat_and_refusals() -> None:
    async def calls() -> list[tuple[str, bytes, list[float]]]:
        _, port, owned = await started(scenario())
        message = {"messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 3}
        found = [
            await asked(port, "/v1/models", None),
            await asked(port, "/v1/chat/completions", message),
            await asked(
                port, "/v1/chat/completions", {**message, "stream": True, "stream_options": {"include_usage": True}}
            ),
            await asked(port, "/v1/completions", {"prompt": "x", "max_tokens": 10**9}),
            await asked(port, "/v1/completions", {"prompt": {}, "max_tokens": 2}),
            await asked(port, "/v2/nothing", None),
            await asked(port, "/overhead", None),
        ]
        owned[0].cancel()
        owned[1].close()
        return found

    models, chat, stream, long, bad, nothing, overhead = asyncio.run(calls())
    assert json.loads(models[1])["data"][0]["id"] == "emulated"
    assert json.loads(chat[1])["usage"] == {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103}
    assert json.loads(chat[1])["choices"][0]["message"]["content"] == " token" * 3
    assert stream[1].count(b'"delta"') == 3
    assert b'"total_tokens": 103' in stream[1]
    assert stream[1].endswith(b"data: [DONE]\n\n")
    assert "400" in long[0]
    assert b"expected at most 131072" in long[1]
    assert "400" in bad[0]
    assert "404" in nothing[0]
    assert set(json.loads(overhead[1])) == {"mean", "p99", "most"}
