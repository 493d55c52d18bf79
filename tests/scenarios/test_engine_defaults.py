"""What an engine chooses by its version and the accelerator, and which settings each version has."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import secondorder as so
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.engine_defaults import engine_defaults
from secondorder.scenarios.engines import ENGINES

READERS = ("enable_prefix_caching", "async_scheduling")
"""Settings that are true or false: one that is read before it is resolved would pass for off."""


def serving(**changes: Any) -> so.Serving:
    fields = {
        "model": "llama_3_1_8b",
        "accelerator": "h100_sxm",
        "arrivals": "poisson 1 request/s",
        "lengths": "input=8 output=8",
    }
    return so.Serving(**{**fields, **changes})


@pytest.mark.parametrize(
    ("accelerator", "tokens", "sequences"),
    [
        ("h100_sxm", 8192, 1024),
        ("h200", 8192, 1024),
        ("a100_80gb", 2048, 256),
        ("l4", 2048, 256),
        ("b200", 16384, 1024),
        ("mi300x", 16384, 1024),
        ("tpu_v6e", 1024, 256),
        ("tpu_v5p", 256, 256),
    ],
)
def test_budget_and_slots_follow_the_memory_of_the_card(accelerator: str, tokens: int, sequences: int) -> None:
    settings = serving(accelerator=accelerator).settings
    assert (settings.max_num_batched_tokens, settings.max_num_seqs) == (tokens, sequences)
    assert (settings.enable_prefix_caching, settings.async_scheduling) == (True, True)


@pytest.mark.parametrize(("engine", "share"), [("vllm 0.19", 0.9), ("vllm 0.24", 0.92), ("vllm 0.33", 0.92)])
def test_the_share_of_memory_and_the_largest_tier_follow_the_version(engine: str, share: float) -> None:
    settings = serving(engine=engine, accelerator="b200").settings
    assert settings.gpu_memory_utilization == share
    assert settings.max_num_batched_tokens == (16_384 if engine == "vllm 0.33" else 8_192)


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("llama_3_1_8b", [True, True, True]),
        ("gpt_oss_20b", [True, True, True]),
        ("qwen3_next_80b_a3b", [False, False, True]),
    ],
)
def test_prefixes_of_models_with_states_are_kept_by_newer_engines(model: str, kept: list[bool]) -> None:
    found = [
        engine_defaults(engine, so.accelerators.h200, so.models[model]).enable_prefix_caching for engine in ENGINES
    ]
    assert found == kept


def test_a_model_of_states_alone_keeps_no_prefixes() -> None:
    hybrid = so.models.qwen3_next_80b_a3b
    states = [layer for layer in hybrid.counted.blocks if not layer.caches]
    alone = replace(hybrid, layers=len(states), stack=replace(hybrid.counted, blocks=tuple(states)), stored=None)
    assert not engine_defaults("vllm 0.33", so.accelerators.h200, alone).enable_prefix_caching


def test_without_chunks_a_step_takes_the_longest_prompt() -> None:
    settings = serving(accelerator="a100_80gb", max_model_len=32_000, enable_chunked_prefill=False).settings
    assert settings.max_num_batched_tokens == 32_000


def test_what_is_given_stands_and_the_rest_follows_it() -> None:
    assert serving(max_num_batched_tokens=512).settings.max_num_seqs == 512
    assert serving(max_num_seqs=4, max_model_len=1000).settings.max_num_batched_tokens == 4_000
    given = serving(max_num_batched_tokens=512, max_num_seqs=2048, enable_prefix_caching=False)
    assert (given.settings.max_num_batched_tokens, given.settings.max_num_seqs) == (512, 2048)
    assert not given.settings.enable_prefix_caching


def test_another_accelerator_or_version_chooses_anew() -> None:
    here = serving(async_scheduling=False)
    there = replace(here, accelerator=so.accelerators.a100_80gb, engine="vllm 0.19")
    assert (there.settings.max_num_batched_tokens, there.settings.gpu_memory_utilization) == (2048, 0.9)
    assert not there.settings.async_scheduling
    assert there.kv_blocks != here.kv_blocks
    rows = so.sweep(here, {"accelerator": ["h100_sxm", "a100_80gb"]}, simulated=False)
    swept = rows[(rows.accelerator == "a100_80gb") & (rows.metric == "ttft_p99") & (rows.order == 2)].value
    expected = so.solve(replace(here, accelerator=so.accelerators.a100_80gb)).best("ttft_p99").amount
    assert swept.tolist() == [expected]


def test_a_plan_keeps_what_was_not_given_open(tmp_path: Path) -> None:
    text = so.write_plan(serving(enable_prefix_caching=False), file=tmp_path / "plan.toml")
    assert "max_num" not in text
    assert "enable_prefix_caching = false" in text
    assert so.read_plan(tmp_path / "plan.toml").one() == serving(enable_prefix_caching=False)


def test_pinning_changes_nothing_but_what_is_given() -> None:
    free = serving(lengths="input=512 output=128")
    pinned = free.pinned
    assert (pinned.settings, pinned.kv_blocks, pinned.reserved) == (free.settings, free.kv_blocks, free.reserved)
    assert replace(pinned, max_num_seqs=100_000).kv_blocks == free.kv_blocks
    assert so.solve(pinned).best("ttft_p99").amount == so.solve(free).best("ttft_p99").amount


def test_a_bool_of_the_engine_is_read_from_the_settings_alone() -> None:
    root = Path(so.__file__).parent
    unresolved = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if any(f".{name}" in path.read_text() for name in READERS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in READERS
        and not (isinstance(node.value, ast.Attribute) and node.value.attr == "settings")
    ]
    assert unresolved == []


@pytest.mark.parametrize("setting", [{"watermark": 0.1}, {"prefill_schedule_interval": 2}])
def test_a_setting_that_a_version_lacks_is_refused_and_the_remedy_works(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="set engine to"):
        serving(engine="vllm 0.19", **setting)
    assert serving(engine="vllm 0.33", **setting).engine_version.name == "vllm 0.33"


def test_an_unknown_engine_is_refused_with_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="engine"):
        serving(engine="vllm 0.34")
