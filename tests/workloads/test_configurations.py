"""Claims about reading a config.json: counts meet what was released, and what cannot be read is refused by name."""

import csv
import dataclasses
import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondorder.errors import FileError
from secondorder.workloads.checkpoints import Modules
from secondorder.workloads.configurations.configuration import class_default
from secondorder.workloads.configurations.families import family_of, readers
from secondorder.workloads.forward_pass import forward_pass
from secondorder.workloads.huggingface import from_config, from_values
from secondorder.workloads.models import models
from secondorder.workloads.transformer import Transformer
from tests.shared_data import shared

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
MIXTRAL = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mixtral",
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
QWEN3 = {
    "head_dim": 128,
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_attention_heads": 64,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_MOE = {
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
DEEPSEEK_V3 = {
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8"},
    "v_head_dim": 128,
    "vocab_size": 129280,
}
CONFIGS = {
    "llama_3_1_8b": LLAMA,
    "llama_3_1_70b": LLAMA
    | {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
    },
    "llama_3_1_405b": LLAMA
    | {
        "hidden_size": 16384,
        "intermediate_size": 53248,
        "num_attention_heads": 128,
        "num_hidden_layers": 126,
    },
    "qwen3_32b": QWEN3,
    "qwen3_30b_a3b": QWEN3_MOE,
    "mixtral_8x7b": MIXTRAL,
    "deepseek_v3": DEEPSEEK_V3,
}

OTHERS: list[tuple[str, dict[str, Any], float]] = [
    (
        "Mistral 7B v0.3",
        {
            "model_type": "mistral",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "vocab_size": 32768,
        },
        7.25e9,
    ),
    (
        "Qwen2.5 7B",
        {
            "model_type": "qwen2",
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "max_position_embeddings": 131072,
            "num_attention_heads": 28,
            "num_hidden_layers": 28,
            "num_key_value_heads": 4,
            "sliding_window": 131072,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "vocab_size": 152064,
        },
        7.62e9,
    ),
    (
        "Qwen1.5 MoE A2.7B",
        {
            "model_type": "qwen2_moe",
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "max_position_embeddings": 8192,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "num_key_value_heads": 16,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "decoder_sparse_step": 1,
            "tie_word_embeddings": False,
            "vocab_size": 151936,
        },
        14.3e9,
    ),
    (
        "DeepSeek-V2-Lite",
        {
            "model_type": "deepseek_v2",
            "hidden_size": 2048,
            "intermediate_size": 10944,
            "moe_intermediate_size": 1408,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "n_shared_experts": 2,
            "n_routed_experts": 64,
            "num_experts_per_tok": 6,
            "moe_layer_freq": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 512,
            "q_lora_rank": None,
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
            "max_position_embeddings": 163840,
            "vocab_size": 102400,
        },
        15.7e9,
    ),
    (
        "Gemma 7B",
        {
            "model_type": "gemma",
            "hidden_size": 3072,
            "intermediate_size": 24576,
            "head_dim": 256,
            "max_position_embeddings": 8192,
            "num_attention_heads": 16,
            "num_hidden_layers": 28,
            "num_key_value_heads": 16,
            "vocab_size": 256000,
        },
        8.54e9,
    ),
    (
        "Phi-3 mini 128k",
        {
            "model_type": "phi3",
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "max_position_embeddings": 131072,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 32,
            "sliding_window": 262144,
            "tie_word_embeddings": False,
            "vocab_size": 32064,
        },
        3.82e9,
    ),
    (
        "GPT-2",
        {
            "model_type": "gpt2",
            "n_embd": 768,
            "n_head": 12,
            "n_layer": 12,
            "n_positions": 1024,
            "vocab_size": 50257,
        },
        124e6,
    ),
]


def written(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def shape(model: Transformer) -> dict[str, Any]:
    skipped = {"name", "note", "sources", "stack", "stored"}
    return {field.name: getattr(model, field.name) for field in dataclasses.fields(model) if field.name not in skipped}


@pytest.mark.parametrize(("name", "config"), CONFIGS.items())
def test_a_released_config_gives_the_shape_of_the_zoo(tmp_path: Path, name: str, config: dict[str, Any]) -> None:
    read = from_config(written(tmp_path, config))
    assert shape(read) == shape(models[name])
    assert read.parameters == pytest.approx(models[name].parameters, rel=1e-6)  # DeepSeek's router has biases


@pytest.mark.parametrize(("name", "config", "count"), OTHERS, ids=[name for name, _, _ in OTHERS])
def test_each_family_meets_a_released_model_s_count(
    tmp_path: Path, name: str, config: dict[str, Any], count: float
) -> None:
    assert from_config(written(tmp_path, config)).parameters == pytest.approx(count, rel=0.01)


def test_a_file_and_its_folder_are_read_alike(tmp_path: Path) -> None:
    folder = written(tmp_path, LLAMA | {"_name_or_path": "meta-llama/Llama-3.1-8B"})
    assert from_config(folder) == from_config(str(folder / "config.json"))
    assert from_config(folder).name == "Llama-3.1-8B"


def test_a_model_without_a_name_takes_that_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert from_config(written(folder, LLAMA)).name == "my-model"


def without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


def test_absent_keys_mean_what_the_family_says(tmp_path: Path) -> None:
    llama = from_config(written(tmp_path, without(LLAMA, "num_key_value_heads", "tie_word_embeddings")))
    assert (llama.kv_heads, llama.head_dim, llama.tied_embeddings) == (32, 128, False)
    gemma = from_config(written(tmp_path, without(OTHERS[4][1], "head_dim")))
    assert (gemma.head_dim, gemma.tied_embeddings) == (256, True)
    qwen3 = from_config(written(tmp_path, without(QWEN3, "head_dim")))
    assert (qwen3.head_dim, qwen3.heads * qwen3.head_dim) == (128, 8192)
    mixtral = from_config(written(tmp_path, without(MIXTRAL, "sliding_window")))
    assert mixtral.parameters == models.mixtral_8x7b.parameters


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([1, 2], "a JSON list, expected a JSON object"),
        ({}, "model_type: got nothing, expected one of llama"),
        (LLAMA | {"model_type": ["llama"]}, "model_type: got "),
        (without(LLAMA, "hidden_size"), "hidden_size: got nothing, expected a whole number"),
        (LLAMA | {"num_hidden_layers": "32"}, "num_hidden_layers: got '32', expected a whole number"),
        (LLAMA | {"num_hidden_layers": 0}, "num_hidden_layers: got 0, expected a whole number of at least 1"),
        (LLAMA | {"vocab_size": True}, "vocab_size: got True"),
        (LLAMA | {"tie_word_embeddings": 0}, "tie_word_embeddings: got 0, expected true or false"),
        (LLAMA | {"num_key_value_heads": 7}, "num_key_value_heads: got 7, expected a divisor of the 32 heads"),
        (LLAMA | {"num_attention_heads": 33}, "head_dim: got nothing, expected a number, as 33 heads"),
        (without(QWEN3, "num_key_value_heads"), "num_key_value_heads: got nothing"),
        (MIXTRAL | {"num_experts_per_tok": 9}, "num_experts_per_tok: got 9, expected at most the 8 experts"),
        (without(DEEPSEEK_V3, "q_lora_rank"), "q_lora_rank: got nothing, expected a whole number, or null for none"),
        (without(DEEPSEEK_V3, "first_k_dense_replace"), "first_k_dense_replace: got nothing"),
        (LLAMA | {"model_type": "perceiver"}, "model_type: got 'perceiver', expected one of"),
        (LLAMA | {"layer_types": ["full_attention"] * 31}, "layer_types: got 31 values, expected a list of 32"),
        (LLAMA | {"layer_types": ["wavelet"] * 32}, "layer_types: got 'wavelet', expected one of full_attention"),
        (LLAMA | {"layer_types": ["mamba"] * 32}, "layer_types: got a layer of linear attention"),
        (LLAMA | {"sliding_window": 4096}, "sliding_window: got 4096, expected no such key in a llama"),
        (LLAMA | {"is_encoder_decoder": True}, "is_encoder_decoder: got true"),
        (LLAMA | {"quantization_config": {"quant_method": "aqlm"}}, "quantization_config.quant_method: got 'aqlm'"),
        (LLAMA | {"quantization_config": {"quant_method": "compressed-tensors"}}, "quantization_config.config_groups"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_that_names_file_and_key(
    tmp_path: Path, config: Any, message: str
) -> None:
    with pytest.raises(FileError) as refusal:
        from_config(written(tmp_path, config))
    assert message in str(refusal.value)
    assert str(tmp_path / "config.json") in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_absent_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"absent: got no such file, expected a model's config\.json"):
        from_config(tmp_path / "absent")
    with pytest.raises(FileError, match=r"config\.json: got no such file"):
        from_config(tmp_path)
    file = tmp_path / "config.json"
    for content in (b"", b"{'model_type': 'llama'}", b"\xff\xfe\x00"):
        file.write_bytes(content)
        with pytest.raises(FileError, match="got text that is not JSON"):
            from_config(file)


# The layers, against counts made elsewhere

BUILT = {
    "afmoe": 19_232_600_000,
    "arcee": 4_022_766_080,
    "aria_text": 18_517_069_824,
    "bailing_hybrid": 124_414_191_072,
    "bamba": 9_992_765_440,
    "bloom": 16_156_544,
    "cohere": 34_980_831_232,
    "cohere2": 34_980_831_232,
    "cohere2_moe": 190_004_928_512,
    "cwm": 32_581_097_472,
    "deepseek_v3": 671_026_404_352,
    "deepseek_v32": 671_877_929_216,
    "ernie4_5": 360_748_032,
    "ernie4_5_moe": 21_825_437_888,
    "exaone": 7_818_448_896,
    "exaone4": 9_429_069_824,
    "exaone_moe": 28_550_639_616,
    "falcon": 6_921_720_704,
    "falcon_h1": 8_514_961_408,
    "falcon_mamba": 159_308_544,
    "flex_olmo": 33_270_665_216,
    "gemma": 8_537_680_896,
    "gemma2": 2_614_341_888,
    "gemma3_text": 2_628_658_432,
    "glm": 9_399_951_360,
    "glm4": 9_400_279_040,
    "glm4_moe_lite": 29_943_390_976,
    "glm_moe_dsa": 743_911_199_232,
    "gpt2": 124_439_808,
    "gpt_bigcode": 111_446_784,
    "gpt_neox": 20_554_567_680,
    "gpt_oss": 116_829_156_672,
    "gptj": 6_050_882_784,
    "granite": 6_738_415_616,
    "granitemoe": 37_039_116_288,
    "granitemoehybrid": 38_601_064_448,
    "granitemoeshared": 37_039_116_288,
    "helium": 2_172_643_840,
    "hy_v3": 295_033_528_320,
    "hyperclovax": 6_738_677_760,
    "internlm3": 8_804_241_408,
    "iquestcoder": 39_794_283_520,
    "jais2": 8_090_401_280,
    "jamba": 51_570_323_328,
    "kimi_linear": 49_133_074_464,
    "lfm2": 2_705_497_600,
    "llama": 6_738_415_616,
    "llama4_text": 107_769_861_120,
    "mamba": 159_308_544,
    "mamba2": 7_285_403_648,
    "minicpm3": 4_073_875_968,
    "minimax": 47_373_946_880,
    "minimax_m2": 228_689_748_992,
    "minimax_m3_vl_text": 447_186_441_216,
    "ministral3": 8_489_553_920,
    "mistral": 7_241_732_096,
    "mixtral": 46_702_792_704,
    "mpt": 1_311_213_568,
    "olmo": 6_888_095_744,
    "olmo2": 6_888_624_128,
    "olmo3": 6_888_624_128,
    "olmo_hybrid": 7_430_870_688,
    "olmoe": 13_361_612_800,
    "opt": 125_239_296,
    "persimmon": 9_397_175_296,
    "phi": 1_418_270_720,
    "phi3": 3_821_079_552,
    "phimoe": 41_872_793_600,
    "qwen2": 12_049_846_272,
    "qwen2_moe": 14_315_784_192,
    "qwen3": 12_049_461_248,
    "qwen3_5_moe_text": 34_660_610_688,
    "qwen3_5_text": 8_953_803_264,
    "qwen3_moe": 15_350_731_776,
    "qwen3_next": 79_674_391_296,
    "recurrent_gemma": 2_010_263_040,
    "sarvam_mla": 106_031_763_456,
    "sarvam_moe": 32_152_648_064,
    "seed_oss": 28_921_040_896,
    "smollm3": 3_075_098_624,
    "solar_open": 102_651_793_408,
    "stablelm": 2_795_443_200,
    "starcoder2": 3_030_371_328,
    "vaultgemma": 2_614_222_080,
    "youtu": 1_961_560_064,
}
"""Parameters that transformers 5.24.0 gives each family's default model, built without storage (on torch's meta
device). Biases by which a router chooses are buffers there and no parameters."""


DERIVED: dict[str, dict[str, int]] = {
    "bamba": {"mamba_d_head": 64},
    "granitemoehybrid": {"mamba_d_head": 64},
    "minicpm3": {"v_head_dim": 64},
    "bailing_hybrid": {"linear_num_heads": 32, "linear_head_dim": 128},
    "olmo_hybrid": {
        "linear_num_key_heads": 30,
        "linear_num_value_heads": 30,
        "linear_key_head_dim": 96,
        "linear_value_head_dim": 192,
    },
}
"""Sizes that a class derives from others, which a released file states."""


def default_config(family: str) -> dict[str, Any]:
    text = (Path(__file__).parents[2] / "secondorder/workloads/configurations/defaults.json").read_text(
        encoding="utf-8"
    )
    return {"model_type": family, **json.loads(text)[family], **DERIVED.get(family, {})}


@pytest.mark.parametrize(("family", "count"), BUILT.items())
def test_a_family_has_the_parameters_that_transformers_builds(family: str, count: int) -> None:
    model = from_values(default_config(family), path=Path(family))
    assert model.stack is not None
    choosing = sum(many * weight.size for weight, many in model.stack.weights if weight.name.endswith("gate.bias"))
    assert model.parameters - count in (0, choosing)


def released() -> list[dict[str, str]]:
    return list(csv.DictReader((shared("configs") / "facts.csv").open(encoding="utf-8")))


def test_released_configs_have_the_published_parameters_to_the_last() -> None:
    for row in released():
        model = from_config(shared("configs") / f"{row['name']}.json")
        assert model.parameters == int(row["params_text_computed"]), row["name"]
        if row["active_computed_with_embed_and_head"]:
            assert model.active_parameters == int(row["active_computed_with_embed_and_head"]), row["name"]


def test_released_configs_keep_the_published_cache_and_state() -> None:
    for row in released():
        model = from_config(shared("configs") / f"{row['name']}.json")
        assert model.cache_bytes(8192, "bf16") == int(row["kv_bytes_T8192"]), row["name"]
        assert model.cache_bytes(131_072, "bf16") == int(row["kv_bytes_T131072"]), row["name"]
        assert model.state_bytes("bf16") == int(row["state_bytes_per_sequence"] or 0), row["name"]


def test_released_checkpoints_have_the_published_bytes_within_one_percent() -> None:
    checked = 0
    for row in released():
        model = from_config(shared("configs") / f"{row['name']}.json")
        stated = re.match(r"\d{9,}", row["weight_bytes"] or row["weight_bytes_computed_quantised"])
        if stated:
            assert model.checkpoint_bytes == pytest.approx(int(stated.group()), rel=0.01), row["name"]
            checked += 1
    assert checked >= 25


def test_configs_from_the_field_give_the_right_answers() -> None:
    folder = shared("field")
    gptq = from_config(folder / "qwen2_72b_gptq_int4.json")
    assert 40.5e9 < gptq.weight_bytes() < 42e9
    kimi = from_config(folder / "kimi_k2.json")
    assert kimi.parameters == pytest.approx(1026e9, rel=0.001)
    assert kimi.active_parameters == pytest.approx(32.9e9, rel=0.002)
    assert kimi.kv_bytes_per_token("bf16") == 70_272
    gemma = from_config(folder / "gemma_3_27b_text.json")
    assert gemma.parameters == pytest.approx(27.01e9, rel=0.0005)
    for tokens in (100, 1024, 50_000):
        assert gemma.cache_bytes(tokens, "bf16") == 81_920 * tokens + 425_984 * min(tokens, 1024)
    assert from_config(folder / "llama_3_3_70b_w8a8.json").weight_bytes() == pytest.approx(67.7 * 2**30, rel=0.001)
    assert from_config(folder / "mistral_small_wrapped.json").parameters == pytest.approx(23.6e9, rel=0.005)


# Caches and states, against a count token by token

GEMMA_3 = {
    "model_type": "gemma3",
    "torch_dtype": "bfloat16",
    "vision_config": {"model_type": "unknown tower"},
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_attention_heads": 8,
        "num_hidden_layers": 34,
        "num_key_value_heads": 4,
        "sliding_window": 1024,
    },
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "shared_expert_intermediate_size": 512,
    "full_attention_interval": 4,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "decoder_sparse_step": 1,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "tie_word_embeddings": False,
}


def read(config: dict[str, Any]) -> Transformer:
    return from_values(config, path=Path("config.json"))


@given(tokens=st.integers(1, 20_000))
def test_a_window_keeps_the_last_tokens_of_its_layers_alone(tokens: int) -> None:
    """Five of six layers keep at most 1,024 tokens of 4 heads of 256 twice."""
    kept = sum(min(tokens, 1024) if (layer + 1) % 6 else tokens for layer in range(34))
    assert read(GEMMA_3).cache_bytes(tokens, "bf16") == kept * 2 * 4 * 256 * 2


def test_a_nested_language_model_is_read_with_its_class_s_defaults() -> None:
    model = read(GEMMA_3)
    assert (model.vocab, model.head_dim, model.tied_embeddings, model.max_context) == (262_208, 256, True, 131_072)
    assert model.parameters == pytest.approx(3.88e9, rel=0.005)


def test_a_recurrence_keeps_one_state_whatever_the_length() -> None:
    """36 layers of 32 matrices of 128 x 128 in fp32, and three inputs of a convolution over 8,192 channels."""
    model = read(QWEN3_NEXT)
    state = 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)
    assert model.state_bytes("bf16") == state
    assert model.cache_bytes(1000, "bf16") == 12 * 2 * 2 * 256 * 2 * 1000 + state
    assert model.parameters == pytest.approx(79.7e9, rel=0.005)
    assert model.active_parameters == pytest.approx(3.9e9, rel=0.02)


def naive_pass(model: Transformer, context: int, new: int) -> tuple[float, float]:
    """Attention's FLOPs and the cache held, token by token and layer by layer."""
    flops = held = 0.0
    assert model.stack is not None
    for layer in model.stack.blocks:
        for cache in layer.caches:
            each = cache.decode_flops if new == 1 else cache.prefill_flops
            for position in range(context + 1, context + new + 1):
                flops += each * min(position, cache.window or math.inf, cache.reads or math.inf)
            held += 2 * cache.values * min(context + new, cache.window or math.inf)
    return flops, held


@pytest.mark.parametrize(("context", "new"), [(0, 1), (5000, 1), (0, 3000), (600, 900), (1023, 2)])
def test_a_pass_over_windowed_layers_is_the_sum_over_its_tokens(context: int, new: int) -> None:
    model = read(GEMMA_3)
    work = forward_pass(model, precision="bf16", input_tokens=new, context_tokens=context)
    flops, held = naive_pass(model, context, new)
    assert work.pair_flops == pytest.approx(flops, rel=1e-12)
    assert work.held_other == pytest.approx(held, rel=1e-12)


def test_sparse_attention_reads_what_its_index_chose_and_keeps_all() -> None:
    model = read(
        DEEPSEEK_V3 | {"model_type": "deepseek_v32", "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048}
    )
    near, far = model.pair_flops(2048), model.pair_flops(100_000)
    assert far - near == pytest.approx(61 * 2 * 64 * 128 * (100_000 - 2048))  # of the index alone
    assert model.cache_bytes(100_000, "bf16") == 100_000 * 61 * (512 + 64 + 128) * 2


@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_experts_hit_are_those_of_a_uniform_choice(tokens: int) -> None:
    model = read(QWEN3_NEXT)
    hit = 512 * (1 - (1 - 10 / 512) ** tokens)
    expected = model.layer_parameters(0) + hit * 48 * 3 * 2048 * 512 + model.head_parameters
    assert model.touched_bytes(tokens, "fp8") == pytest.approx(expected, rel=1e-12)


TOWERS = [
    (
        {
            "model_type": "qwen2_5_vl",
            "depth": 32,
            "hidden_size": 3584,
            "intermediate_size": 3420,
            "out_hidden_size": 3584,
        },
        3584,
        3_083_025_152,
    ),
    (
        {"model_type": "qwen2_vl", "depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "hidden_size": 3584},
        3584,
        675_759_104,
    ),
    (
        {"model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
        5120,
        438_958_080,
    ),
]
"""Vision towers, the width of their text, and their parameters as transformers 5.24.0 builds them."""


@pytest.mark.parametrize(("vision", "width", "count"), TOWERS, ids=[tower["model_type"] for tower, _, _ in TOWERS])
def test_a_vision_tower_is_counted_beside_the_text(vision: dict[str, Any], width: int, count: int) -> None:
    text = LLAMA | {"hidden_size": width, "head_dim": 128, "num_attention_heads": 32}
    alone, both = read(text), read({"model_type": "wrapper", "text_config": text, "vision_config": vision})
    assert both.parameters == alone.parameters
    assert both.stack is not None
    assert sum(w.size * w.copies for w in both.stack.beside["vision"]) == count
    assert both.checkpoint_bytes == alone.checkpoint_bytes + 2 * count


# Quantised checkpoints

SMALL = {
    "model_type": "llama",
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 4096,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
MATRICES = [(1024, 1024), (256, 1024), (256, 1024), (1024, 1024), (4096, 1024), (4096, 1024), (1024, 4096)]
"""Outputs and inputs of the matrices of one of its layers."""
KEPT = 2 * (2 * 32000 * 1024 + 9 * 1024)
"""Bytes of its embedding, head and norms in 16 bits."""


def group_bytes(bits: float, group: int, beside: float) -> float:
    return 4 * sum(o * i * bits / 8 + o * i / group * beside for o, i in MATRICES)


@pytest.mark.parametrize(
    ("quantisation", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, group_bytes(4, 128, 2.5)),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True},
            group_bytes(4, 128, 2.5) + 4 * sum(4 * i for _, i in MATRICES),
        ),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, group_bytes(8, 128 * 128, 4)),
        ({"quant_method": "fbgemm_fp8"}, 4 * sum(o * i + 4 * o for o, i in MATRICES)),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]},
            group_bytes(4, 16, 1) + 4 * 7 * 8,
        ),
        (
            {"quant_method": "quark", "exclude": ["lm_head"], "global_quant_config": {"weight": {"dtype": "fp4"}}},
            group_bytes(4, 32, 1),
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, group_bytes(4, 64, 4)),
        (
            {
                "quant_method": "compressed-tensors",
                "ignore": ["lm_head"],
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True},
                    }
                },
            },
            4 * sum(o * i + 2 * o for o, i in MATRICES),
        ),
    ],
    ids=lambda value: value.get("quant_method") if isinstance(value, dict) else "",
)
def test_a_checkpoint_s_bytes_are_those_of_its_matrices_one_by_one(
    quantisation: dict[str, Any], expected: float
) -> None:
    model = read(SMALL | {"quantization_config": quantisation})
    assert model.weight_bytes() == pytest.approx(KEPT + expected, rel=1e-12)
    assert model.weight_bytes("bf16") == model.weight_bytes("fp8") == model.weight_bytes()
    assert model.touched_bytes(1, "bf16") == pytest.approx(model.weight_bytes() - 2 * 32000 * 1024, rel=1e-12)


def test_modules_that_a_checkpoint_names_stay_in_16_bits() -> None:
    """Attention of all layers, by each way of saying so."""
    attention = sum(o * i for o, i in MATRICES[:4])
    whole = read(SMALL | {"quantization_config": {"quant_method": "fp8"}}).weight_bytes()
    for names in (
        ["re:.*self_attn.*"],
        ["model.layers.*.self_attn*"],
        ["language_model.model.layers.0.self_attn*", *(f"model.layers.{layer}.self_attn" for layer in (1, 2, 3))],
        ["self_attn"],
    ):
        kept = read(SMALL | {"quantization_config": {"quant_method": "fp8", "modules_to_not_convert": names}})
        assert kept.weight_bytes() == pytest.approx(whole + 4 * (attention - 4 * 8), rel=1e-9), names


def test_mxfp4_is_4_25_bits_of_the_experts_and_16_of_the_rest() -> None:
    """gpt-oss-20b: 12.8 GB of experts and biases in a release of 13.8 GB."""
    config = {
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "num_hidden_layers": 24,
        "num_attention_heads": 64,
        "head_dim": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 2880,
        "num_local_experts": 32,
        "num_experts_per_tok": 4,
        "vocab_size": 201088,
        "max_position_embeddings": 131072,
        "sliding_window": 128,
        "tie_word_embeddings": False,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        },
    }
    model = read(config)
    experts = 24 * 32 * (3 * 2880 * 2880)
    assert model.parameters == pytest.approx(20.91e9, rel=0.001)
    assert model.weight_bytes() == pytest.approx(experts * 4.25 / 8 + 2 * (model.parameters - experts), rel=1e-9)
    assert model.weight_bytes() == pytest.approx(13.8e9, rel=0.01)


def test_a_list_of_modules_matches_whole_parts_of_names() -> None:
    named = Modules.of(["gate", "lm_head", "model.layers.1.mlp"], parts=True)
    assert "model.layers.0.mlp.gate" in named
    assert "model.layers.0.mlp.gate_proj" not in named
    assert "model.layers.1.mlp.up_proj" in named
    assert "model.layers.11.mlp.up_proj" not in named


def test_a_separate_description_of_the_quantisation_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path, SMALL)
    (folder / "hf_quant_config.json").write_text(
        json.dumps({"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}})
    )
    assert from_config(folder).weight_bytes() == pytest.approx(KEPT + 4 * sum(o * i + 8 for o, i in MATRICES))


# Refusals whose remedy works


def test_an_unknown_key_is_refused_and_its_remedy_works(tmp_path: Path) -> None:
    strange = LLAMA | {"num_memory_layers": 4}
    with pytest.raises(FileError, match=r"num_memory_layers: got 4, expected no such key in a llama.*remove it"):
        from_config(written(tmp_path, strange))
    assert from_config(written(tmp_path, without(strange, "num_memory_layers"))).parameters == 8_030_261_248


@pytest.mark.parametrize("config", [LLAMA, DEEPSEEK_V3, QWEN3_MOE], ids=["llama", "deepseek_v3", "qwen3_moe"])
def test_an_unknown_family_s_remedy_reads_the_file(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(FileError, match="set model_type to") as refusal:
        from_config(written(tmp_path, config | {"model_type": "brand_new"}))
    named = re.search(r'set model_type to "(\w+)"', str(refusal.value))
    assert named is not None
    assert from_config(written(tmp_path, config | {"model_type": named.group(1)})).parameters > 1e9


def test_a_quantisation_s_remedy_works(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="remove the key"):
        from_config(written(tmp_path, LLAMA | {"quantization_config": {"quant_method": "aqlm"}}))


def test_a_window_longer_than_the_context_is_no_window() -> None:
    assert read(dict(OTHERS[5][1])).linear_cache
    assert not read(MIXTRAL | {"sliding_window": 4096}).linear_cache


@pytest.mark.parametrize("family", [family for family in readers() if class_default(family, "hidden_size")])
def test_a_family_s_default_is_read_or_refused_in_one_line(family: str) -> None:
    """A family whose class needs more than sizes says which key is missing."""
    try:
        assert from_values(default_config(family), path=Path(family)).parameters > 0
    except FileError as refusal:
        assert refusal.expected  # noqa: PT017


def test_parts_of_a_model_have_the_name_of_their_family() -> None:
    assert family_of("gemma3_text") == "gemma3"
    assert family_of("minimax_m1") == "minimax"
    assert all(before != after for before, after in pairwise(readers()))


def test_a_shape_changed_beside_given_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="stack: got 48 layers"):
        dataclasses.replace(read(QWEN3_NEXT), layers=47)
