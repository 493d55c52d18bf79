"""An OpenAI-compatible endpoint that answers at the times of a simulated engine; HTTP by the standard library alone."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from secondorder.scenarios.serving import Serving
    from secondorder.simulate.serving.live import Call, LiveEngine

CHARACTERS = 4.0
"""Characters of a prompt that are counted as one token, because there is no tokenizer."""
DEFAULT_TOKENS = 16
"""Output tokens of a request that states none."""
LONGEST_BODY = 64 * 2**20
"""Bytes of a request that are read, at most."""
WORD = " token"


class Refused(Exception):
    """A request that is answered with an HTTP error."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Endpoint:
    """``/v1/models``, ``/v1/completions``, ``/v1/chat/completions``, ``/health`` and ``/overhead`` on one engine."""

    def __init__(self, engine: "LiveEngine", model: str, characters: float = CHARACTERS) -> None:
        self.engine, self.model, self.characters = engine, model, characters

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one client's connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while (request := await _read(reader)) is not None:
                method, path, body = request
                try:
                    await self._answer(method, path.split("?")[0], body, writer)
                except Refused as refusal:
                    _send(
                        writer, {"error": {"message": refusal.message, "type": "invalid_request_error"}}, refusal.status
                    )
                await writer.drain()
        writer.close()

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        if (method, path) == ("GET", "/v1/models"):
            entry = {"id": self.model, "object": "model", "created": 0, "owned_by": "secondorder"}
            _send(writer, {"object": "list", "data": [entry]})
        elif (method, path) == ("GET", "/health"):
            _send(writer, {})
        elif (method, path) == ("GET", "/overhead"):
            _send(writer, self.engine.overhead())
        elif method == "POST" and path in ("/v1/completions", "/v1/chat/completions"):
            await self._complete(_document(body), writer, chat="chat" in path)
        else:
            raise Refused("404 Not Found", f"no {method} {path} here")

    async def _complete(self, asked: dict[str, Any], writer: asyncio.StreamWriter, *, chat: bool) -> None:
        prompt, output = self._lengths(asked, chat=chat)
        call = self.engine.submit(prompt, output)
        try:
            if asked.get("stream"):
                await self._stream(call, asked, writer, chat=chat)
            else:
                async for _ in self.engine.tokens(call):
                    pass
                _send(writer, self._document(call, WORD * output, chat=chat, last=True) | {"usage": _usage(call)})
        except ConnectionError:
            self.engine.cancel(call)
            raise

    def _lengths(self, asked: Mapping[str, Any], *, chat: bool) -> tuple[int, int]:
        """Prompt and output tokens of a request that the engine can serve."""
        for name, most in (("n", 1), ("best_of", 1)):
            if asked.get(name) not in (None, most):
                raise Refused("400 Bad Request", f"{name}: got {asked[name]}, expected 1")
        output = asked.get("max_completion_tokens") or asked.get("max_tokens") or DEFAULT_TOKENS
        if not isinstance(output, int) or output < 1:
            raise Refused("400 Bad Request", f"max_tokens: got {output!r}, expected an integer of at least 1")
        prompt = self._tokens(asked.get("messages") if chat else asked.get("prompt"))
        most = min(self.engine.scenario.context_limit, self.engine.scenario.kv_tokens)
        if prompt + output > most:
            raise Refused(
                "400 Bad Request", f"prompt and output: got {prompt + output} tokens, expected at most {most}"
            )
        return prompt, output

    def _tokens(self, prompt: object) -> int:
        """Token identities are counted, text is counted by its characters."""
        if isinstance(prompt, str):
            return max(1, round(len(prompt) / self.characters))
        if isinstance(prompt, list) and prompt and all(isinstance(one, int) for one in prompt):
            return len(prompt)
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
            return self._tokens(prompt[0])
        if isinstance(prompt, list) and prompt and all(isinstance(one, dict) for one in prompt):
            return self._tokens("\n".join(_text(one.get("content")) for one in prompt))
        raise Refused("400 Bad Request", "prompt: expected one text, one list of token identities, or messages")

    async def _stream(
        self, call: "Call", asked: Mapping[str, Any], writer: asyncio.StreamWriter, *, chat: bool
    ) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        left = call.ask.output
        async for _ in self.engine.tokens(call):
            left -= 1
            _event(writer, json.dumps(self._document(call, WORD, chat=chat, last=not left, part=True)))
            await writer.drain()
        if (asked.get("stream_options") or {}).get("include_usage"):
            document = self._document(call, "", chat=chat, last=True, part=True)
            _event(writer, json.dumps({**document, "choices": [], "usage": _usage(call)}))
        _event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")

    def _document(self, call: "Call", text: str, *, chat: bool, last: bool, part: bool = False) -> dict[str, Any]:
        content = {"role": "assistant", "content": text}
        said: dict[str, Any] = {("delta" if part else "message"): content} if chat else {"text": text}
        kind = ("chat.completion.chunk" if part else "chat.completion") if chat else "text_completion"
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": "length" if last else None}
        name = f"{'chatcmpl' if chat else 'cmpl'}-{call.ask.index}"
        return {"id": name, "object": kind, "created": 0, "model": self.model, "choices": [choice]}


def _usage(call: "Call") -> dict[str, int]:
    prompt, output = call.ask.prompt, call.ask.output
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _text(content: object) -> str:
    """Of a message: a text, or the texts of its parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, bytes] | None:
    """Method, path and body of the next request of a connection; nothing at its end."""
    line = await reader.readline()
    words = line.decode("latin-1").split()
    if len(words) < 2:
        return None
    size = 0
    while (header := (await reader.readline()).decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        if name.lower() == "content-length" and value.strip().isdigit():
            size = int(value)
    if size > LONGEST_BODY:
        return None
    return words[0], words[1], await reader.readexactly(size)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused("400 Bad Request", "the body is not a JSON object")
    return found


def _send(writer: asyncio.StreamWriter, document: object, status: str = "200 OK") -> None:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


def _event(writer: asyncio.StreamWriter, data: str) -> None:
    """One server-sent event, as one chunk."""
    event = f"data: {data}\n\n".encode()
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


async def served(
    scenario: "Serving",
    port: int,
    *,
    model: str,
    characters: float = CHARACTERS,
    record: str | None = None,
) -> None:
    """Serve on the loopback address until the task is cancelled, as SIGTERM does; then say how late the endpoint was,
    and what the engine answered. ``record``: a CSV file of the requests."""
    from secondorder.simulate.serving.live import LiveEngine

    engine = LiveEngine(scenario)
    endpoint = Endpoint(engine, model, characters)
    if (task := asyncio.current_task()) is not None:
        with contextlib.suppress(
            NotImplementedError, RuntimeError, ValueError
        ):  # none on Windows, none outside the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    server = await asyncio.start_server(endpoint.connection, "127.0.0.1", port, limit=LONGEST_BODY)
    try:
        async with server:
            await engine.run()
    finally:
        late, rows = engine.overhead(), engine.answered()
        print(f"{len(engine.calls)} requests; steps noticed late by", end=" ", file=sys.stderr)
        print(f"{late['mean'] * 1e3:.3f} ms on average, {late['p99'] * 1e3:.3f} ms at p99", file=sys.stderr)
        if len(rows):
            print(_told(rows), file=sys.stderr)
        if record is not None:
            Path(record).write_text(rows.to_csv(index=False), encoding="utf-8")


def _told(rows: "pd.DataFrame") -> str:
    """What the engine answered; what a client reports beyond it is the time of the client and of the endpoint."""
    said = []
    for name in ("ttft", "tpot", "e2el"):
        times = 1e3 * rows[f"{name}_s"][(rows["output_tokens"] > 1) | (name != "tpot")]
        values = {"mean": times.mean(), "p50": times.quantile(0.5), "p99": times.quantile(0.99)}
        said.append(f"{name} " + ", ".join(f"{word} {value:.3f}" for word, value in values.items()))
    return "the engine answered (ms): " + "; ".join(said)
