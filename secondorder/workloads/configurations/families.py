"""The families by ``model_type``, each with what its layers have beyond their sizes.

As the modules of transformers 5.24.0 build them; families that it lacks as their own released code does.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from secondorder.workloads.configurations import earlier, hybrids, irregular
from secondorder.workloads.configurations.configuration import Configuration
from secondorder.workloads.configurations.decoders import Decoder, read_decoder
from secondorder.workloads.configurations.layer_kinds import (
    chunked,
    even_slide,
    last_of,
    lettered,
    on_request,
    windowed_if_given,
)
from secondorder.workloads.layers import Stack

Read = Callable[[Configuration], Stack]

_LLAMA = Decoder()
_QWEN2 = Decoder(qkv_bias=True, output_bias=False, mlp_bias=False, windows=on_request)
_QWEN3 = Decoder(query_norm="head", mlp_bias=False, windows=on_request)
_GLM = Decoder(output_bias=False, mlp_bias=False)
_DEEPSEEK = Decoder(latent=True, mlp_bias=False, correction=True)
_PHI3 = Decoder(qkv_bias=False, output_bias=False, mlp_bias=False, windows=windowed_if_given)
_MISTRAL = Decoder(qkv_bias=False, output_bias=False, mlp_bias=False, windows=windowed_if_given)
_BAILING = Decoder(
    query_norm="head",
    query_norm_if="use_qk_norm",
    qkv_bias="use_qkv_bias",
    output_bias="use_bias",
    mlp_bias="use_bias",
)
_GEMMA2 = Decoder(norms=4, mlp_bias=False, windows=even_slide)
_GEMMA3 = Decoder(
    norms=4,
    mlp_bias=False,
    query_norm="head",
    windows=last_of("sliding_window_pattern", "_sliding_window_pattern", period=6),
)

_DECODERS: Mapping[str, Decoder] = {
    "llama": _LLAMA,
    "mistral": _MISTRAL,
    "ministral": replace(_MISTRAL),
    "ministral3": replace(_MISTRAL),
    "mixtral": _MISTRAL,
    "qwen2": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_omni": _QWEN2,
    "qwen2_moe": replace(_QWEN2, qkv_bias="qkv_bias", shared_gate=True),
    "qwen3": _QWEN3,
    "qwen3_vl": _QWEN3,
    "qwen3_moe": _QWEN3,
    "qwen3_vl_moe": _QWEN3,
    "qwen3_omni_moe": _QWEN3,
    "mimo": replace(_QWEN2),
    "gemma": replace(_LLAMA, mlp_bias=False),
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "vaultgemma": replace(_GEMMA2, norms=2),
    "phi3": _PHI3,
    "phi4_multimodal": _PHI3,
    "phimoe": Decoder(norm_bias=True, head_bias="lm_head_bias", mlp_bias=False, windows=windowed_if_given),
    "starcoder2": Decoder(
        norm_bias=True,
        qkv_bias="use_bias",
        output_bias="use_bias",
        mlp_bias="use_bias",
        gated=False,
        windows=windowed_if_given,
    ),
    "deepseek_v2": replace(_DEEPSEEK, correction=False),
    "deepseek_v3": _DEEPSEEK,
    "deepseek_v32": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "glm_moe_dsa": _DEEPSEEK,
    "glm4_moe_lite": _DEEPSEEK,
    "axk1": replace(_DEEPSEEK),
    "youtu": replace(_DEEPSEEK, correction=False),
    "minicpm3": replace(_DEEPSEEK, correction=False),
    "glm": _GLM,
    "glm4": replace(_GLM, norms=4),
    "glm4_moe": replace(_GLM, query_norm="head", query_norm_if="use_qk_norm", correction=True),
    "glm4v_moe": replace(_GLM, correction=True),
    "glm4v": replace(_GLM, norms=4),
    "solar_open": Decoder(qkv_bias="attention_bias", output_bias=False, mlp_bias=False, correction=True),
    "dots1": replace(_QWEN3, correction=True),
    "cohere": Decoder(norms=1, mlp_bias=False, query_norm="each", query_norm_if="use_qk_norm"),
    "cohere2": Decoder(norms=1, mlp_bias=False, windows=last_of("sliding_window_pattern", period=4)),
    "cohere2_moe": Decoder(norms=1, mlp_bias=False, windows=last_of("sliding_window_pattern", period=4)),
    "ernie4_5": Decoder(qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias"),
    "ernie4_5_moe": Decoder(qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias", correction=True),
    "exaone": _LLAMA,
    "exaone4": replace(_LLAMA, query_norm="head", qkv_bias=False, output_bias=False, mlp_bias=False, windows=lettered),
    "exaone_moe": Decoder(
        query_norm="head", qkv_bias=False, output_bias=False, mlp_bias=False, correction=True, windows=lettered
    ),
    "olmo": Decoder(norms=0, final_norm=False, mlp_bias=False),
    "olmo2": Decoder(query_norm="whole", mlp_bias=False),
    "olmo3": Decoder(query_norm="whole", mlp_bias=False, windows=last_of(period=4)),
    "olmoe": Decoder(query_norm="whole", mlp_bias=False),
    "flex_olmo": Decoder(query_norm="whole", mlp_bias=False),
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "granitemoeshared": _LLAMA,
    "gpt_oss": Decoder(sinks=True, expert_bias=True, mlp_bias=False, windows=even_slide),
    "llama4": Decoder(mlp_bias=False, windows=chunked, always_shared=True),
    "minimax_m2": Decoder(query_norm="whole", qkv_bias=False, output_bias=False, mlp_bias=False, correction=True),
    "afmoe": Decoder(
        norms=4,
        query_norm="head",
        gate="value",
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        correction=True,
        windows=last_of("global_attn_every_n_layers", period=4),
    ),
    "apertus": Decoder(query_norm="head", gated=False, mlp_bias=False),
    "arcee": Decoder(gated=False),
    "nemotron": Decoder(gated=False, norm_bias=True),
    "seed_oss": Decoder(output_bias="attention_out_bias"),
    "smollm3": replace(_LLAMA, windows=on_request),
    "stablelm": Decoder(norm_bias=True, qkv_bias="use_qkv_bias", output_bias=False, mlp_bias=False),
    "helium": _LLAMA,
    "cwm": replace(_LLAMA, windows=last_of(period=4)),
    "hunyuan_v1_dense": Decoder(query_norm="head", query_norm_if="use_qk_norm"),
    "hunyuan_v1_moe": Decoder(query_norm="head", query_norm_if="use_qk_norm"),
    "hy_v3": Decoder(query_norm="head", correction=True),
    "arctic": Decoder(qkv_bias=False, output_bias=False, mlp_bias=False, residual=True),
    "internlm2": Decoder(qkv_bias="bias", output_bias="bias", mlp_bias=False),
    "internlm3": Decoder(qkv_bias="qkv_bias", output_bias="bias", mlp_bias="bias"),
    "baichuan": Decoder(qkv_bias=False, output_bias=False, mlp_bias=False),
    "xverse": Decoder(qkv_bias=False, output_bias=False, mlp_bias=False),
    "orion": Decoder(norm_bias=True, qkv_bias=False, output_bias=False, mlp_bias=False),
    "minicpm": Decoder(qkv_bias=False, output_bias=False, mlp_bias=False),
    "jais2": Decoder(norm_bias=True, gated=False),
    "sarvam_moe": replace(_GLM, query_norm="head", query_norm_if="use_qk_norm", correction=True),
    "sarvam_mla": _DEEPSEEK,
    "bailing_moe": _BAILING,
    "bailing_moe_v2": replace(_BAILING, correction=True),
    "mellum": Decoder(query_norm="head", mlp_bias=False),
    "iquestcoder": _LLAMA,
    "flint": replace(_QWEN3, sinks=True, correction=True),
    "hyperclovax": replace(_LLAMA, more_norms_if="use_post_norm"),
    "granite_swa": replace(_LLAMA, sinks=True),
    "granitemoe_swa": replace(_LLAMA, sinks=True),
    "aria": _LLAMA,
    "kolibri1": Decoder(norms=4, query_norm="head", qkv_bias=False, output_bias=False, mlp_bias=False, correction=True),
    "apertus1p5": Decoder(query_norm="head", gated=False, mlp_bias=False),
    "telechat3": _LLAMA,
}


_OWN: Mapping[str, Read] = {
    "qwen3_next": hybrids.qwen3_next,
    "qwen3_5": hybrids.qwen3_next,
    "qwen3_5_moe": hybrids.qwen3_next,
    "olmo_hybrid": hybrids.olmo_hybrid,
    "lara_mini": hybrids.lara,
    "kimi_linear": hybrids.kimi_linear,
    "bailing_hybrid": hybrids.kimi_linear,
    "minimax": hybrids.minimax,
    "mamba": hybrids.mamba,
    "falcon_mamba": hybrids.mamba,
    "mamba2": hybrids.mamba,
    "jamba": hybrids.jamba,
    "falcon_h1": hybrids.falcon_h1,
    "bamba": hybrids.bamba,
    "granitemoehybrid": hybrids.granite_hybrid,
    "nemotron_h": hybrids.nemotron_h,
    "lfm2": hybrids.lfm2,
    "lfm2_moe": hybrids.lfm2,
    "recurrent_gemma": hybrids.recurrent_gemma,
    "rwkv7": hybrids.rwkv7,
    "gemma3n": irregular.gemma3n,
    "gemma4": irregular.gemma4,
    "gemma4_unified": irregular.gemma4,
    "laguna": irregular.laguna,
    "minimax_m3_vl": irregular.minimax_m3,
    "mllama": irregular.mllama,
    "longcat_flash": irregular.longcat_flash,
    "nemotron-nas": irregular.pruned,
    "deci": irregular.pruned,
    "mimo_v2_flash": irregular.mimo_v2_flash,
    "step3p5": irregular.step3p5,
    "step3p7": irregular.step3p5,
    "deepseek_v4": irregular.deepseek_v4,
    "gpt2": earlier.gpt2,
    "gpt_bigcode": earlier.gpt_bigcode,
    "gptj": earlier.gptj,
    "qwen": earlier.qwen,
    "gpt_neox": earlier.gpt_neox,
    "opt": earlier.opt,
    "bloom": earlier.bloom,
    "mpt": earlier.mpt,
    "falcon": earlier.falcon,
    "phi": earlier.phi,
    "persimmon": earlier.persimmon,
    "chatglm": earlier.chatglm,
    "dbrx": earlier.dbrx,
    "grok": earlier.grok,
}

ALIASES: Mapping[str, str] = {
    "minimax_text_01": "minimax",
    "minimax_m1": "minimax",
    "minimax_m2_5": "minimax_m2",
    "kimi_k25": "kimi_k2",
    "RefinedWeb": "falcon",
    "RefinedWebModel": "falcon",
    "dots": "dots1",
    "gpt-oss": "gpt_oss",
    "nemotron_nas": "nemotron-nas",
    "hunyuan": "hunyuan_v1_moe",
    "hunyuan_dense": "hunyuan_v1_dense",
    "rwkv7_hf": "rwkv7",
    "exaone4_0": "exaone4",
    "grok-1": "grok",
    "seedoss": "seed_oss",
    "mimo_v2": "mimo_v2_flash",
    "llama4_text": "llama4",
}
"""Other words for a family."""


def family_of(model_type: str) -> str:
    """The name of the family in the table: without the ending of a part, and by its usual word."""
    if model_type in ALIASES:
        return ALIASES[model_type]
    short = model_type.removesuffix("_text")
    return ALIASES.get(short, short)


def readers() -> Mapping[str, Read]:
    """What reads each ``model_type``."""

    def reading(traits: Decoder) -> Read:
        return lambda c: read_decoder(c, traits)

    return {**{name: reading(traits) for name, traits in _DECODERS.items()}, **_OWN}
