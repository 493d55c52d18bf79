"""What vLLM prints when it starts: its cache, its blocks, where its memory went. It replaces any estimate.

>>> lines = '''INFO 04-22 Model loading took 14.99 GiB and 3.2 seconds
... INFO 04-22 Available KV cache memory: 58.11 GiB
... INFO 04-22 GPU KV cache size: 476,000 tokens
... INFO 04-22 Maximum concurrency for 8,192 tokens per request: 58.11x'''
>>> log = read_lines(lines)
>>> log.tokens, log.blocks(16), log.cache, log.version
(476000, 29750, '58.11 GiB', '')
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secondorder.errors import FileError
from secondorder.files import read_text

_NUMBER = r"([\d,]+(?:\.\d+)?)"
_LINES: Mapping[str, tuple[str, ...]] = {
    "version": (
        r"vLLM API server version (\S+)",
        r"Initializing a V\d LLM engine \(v?([^)\s]+)\)",
        r"vllm[- ]v?(\d+\.\d+\.\d+)",
    ),
    "tokens": (rf"GPU KV cache size: {_NUMBER} tokens",),
    "gpu_blocks": (
        rf"num_gpu_blocks(?: is)?: {_NUMBER}",
        rf"# (?:GPU|cuda) blocks: {_NUMBER}",
        rf"num_gpu_blocks[=:]\s*{_NUMBER}",
    ),
    "cache": (
        rf"Available KV cache memory: {_NUMBER} GiB",
        rf"the rest of the memory reserved for KV Cache is {_NUMBER}GiB",
    ),
    "weights": (
        rf"[Mm]odel loading took {_NUMBER} (?:GiB|GB)",
        rf"model weights take {_NUMBER}GiB",
    ),
    "activations": (
        rf"PyTorch activation peak memory takes {_NUMBER}GiB",
        rf"peak activation(?: memory)?:? {_NUMBER} ?GiB",
    ),
    "total": (rf"total_gpu_memory \({_NUMBER}GiB\)", rf"total(?: GPU)? memory:? {_NUMBER} ?GiB"),
    "utilisation": (rf"gpu_memory_utilization \({_NUMBER}\)", rf"gpu_memory_utilization[=:] ?{_NUMBER}"),
    "concurrency": (rf"Maximum concurrency for [\d,]+ tokens per request: {_NUMBER}x",),
    "concurrency_at": (rf"Maximum concurrency for {_NUMBER} tokens per request",),
    "block_size": (rf"block_size[=:] ?{_NUMBER}",),
}
"""Expressions of each figure, newest wording first; of several ranks the last line read counts for none but tokens."""


@dataclass(frozen=True, kw_only=True)
class EngineLog:
    """Figures of an engine's start-up lines; of several ranks the smallest cache governs. Absent: not printed."""

    version: str = ""
    tokens: int | None = None
    gpu_blocks: int | None = None
    block_size: int | None = None
    cache: str | None = None
    weights: str | None = None
    activations: str | None = None
    total: str | None = None
    utilisation: float | None = None
    concurrency: float | None = None
    concurrency_at: int | None = None

    def blocks(self, block_size: int) -> int:
        """Blocks of the cache, printed or by its tokens. ``FileError`` where neither was printed."""
        if self.gpu_blocks is not None:
            return self.gpu_blocks
        if self.tokens is None:
            raise FileError(
                "engine log",
                given="no line with the cache's size",
                expected='"GPU KV cache size: N tokens" or "# GPU blocks: N"',
                remedy="start the engine with VLLM_LOGGING_LEVEL=INFO and keep its first hundred lines",
            )
        return self.tokens // block_size


def read_engine_log(path: str | Path) -> EngineLog:
    """The figures in a file of start-up lines. Errors: ``FileError`` for no file, or one without any such line."""
    where = Path(path)
    try:
        text = read_text(where, errors="replace")
    except OSError as error:
        raise FileError(
            str(where), given=error.strerror or "an unreadable file", expected="vLLM's start-up lines"
        ) from None
    found = read_lines(text)
    if found == EngineLog(version=found.version):
        raise FileError(
            str(where),
            given="no line with a figure",
            expected='lines such as "GPU KV cache size: 476,000 tokens"',
            remedy="keep the engine's first hundred lines; num_gpu_blocks states the number itself",
        )
    return found


def read_lines(text: str) -> EngineLog:
    """The figures in some start-up lines."""

    def every(figure: str) -> list[str]:
        for pattern in _LINES[figure]:
            if found := re.findall(pattern, text):
                return [str(one) for one in found]
        return []

    def least(figure: str) -> float | None:
        values = [float(one.replace(",", "")) for one in every(figure)]
        return min(values) if values else None

    def whole(figure: str) -> int | None:
        value = least(figure)
        return None if value is None else int(value)

    def gib(figure: str) -> str | None:
        value = least(figure)
        return None if value is None else f"{value:g} GiB"

    versions = every("version")
    return EngineLog(
        version=versions[0] if versions else "",
        tokens=whole("tokens"),
        gpu_blocks=whole("gpu_blocks"),
        block_size=whole("block_size"),
        cache=gib("cache"),
        weights=gib("weights"),
        activations=gib("activations"),
        total=gib("total"),
        utilisation=least("utilisation"),
        concurrency=least("concurrency"),
        concurrency_at=whole("concurrency_at"),
    )
