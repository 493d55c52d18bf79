"""What an engine chooses by its version and the accelerator, and which settings each version has."""

from typing import Any

import pytest

import secondorder as so
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.engine_defaults import engine_defaults


@pytest.mark.parametrize(
    ("accelerator", "tokens", "sequences"),
    [
        ("h100_sxm", 8192, 1024),
        ("h200", 8192, 1024),
        ("a100_80gb", 2048, 256),
        ("l4", 2048, 256),
        ("b200", 16384, 1024),
        ("mi300x", 16384, 1024),
    ],
)
def test_budget_and_slots_follow_the_memory_of_the_card(accelerator: str, tokens: int, sequences: int) -> None:
    chosen = engine_defaults("vllm 0.33", so.accelerators[accelerator], max_model_len=100_000)
    assert (chosen.max_num_batched_tokens, chosen.max_num_seqs) == (tokens, sequences)


def test_older_engines_have_no_tier_for_huge_cards() -> None:
    chosen = engine_defaults("vllm 0.24", so.accelerators.b200, max_model_len=100_000)
    assert chosen.max_num_batched_tokens == 8192


def test_without_chunks_a_step_takes_the_longest_prompt() -> None:
    chosen = engine_defaults("vllm 0.33", so.accelerators.l4, max_model_len=32_000, chunked_prefill=False)
    assert chosen.max_num_batched_tokens == 32_000


def serving(**changes: Any) -> so.Serving:
    return so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="poisson 1 request/s",
        lengths="input=8 output=8",
        **changes,
    )


@pytest.mark.parametrize("setting", [{"watermark": 0.1}, {"prefill_schedule_interval": 2}])
def test_a_setting_that_a_version_lacks_is_refused_and_the_remedy_works(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="set engine to"):
        serving(engine="vllm 0.19", **setting)
    assert serving(engine="vllm 0.33", **setting).engine_version.name == "vllm 0.33"


def test_an_unknown_engine_is_refused_with_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="engine"):
        serving(engine="vllm 0.34")
