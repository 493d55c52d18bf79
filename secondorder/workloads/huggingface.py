"""A model's shape from its Hugging Face ``config.json``, read from a local file.

What a key that is absent means is decided by the family, as in the configuration classes of
transformers 4.57.6; a key whose default there is merely some model's size must be given.
Nothing else is assumed: a family that is not listed, a layout that ``Transformer`` cannot
count, a key of the wrong kind are errors that name the file and the key.

>>> import json, tempfile
>>> shape = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
...     "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
...     "vocab_size": 128256, "max_position_embeddings": 131072}
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = (Path(folder) / "config.json").write_text(json.dumps(shape))
...     model = from_config(folder)
>>> f"{model.parameters:,.0f}"
'8,030,261,248'
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secondorder.errors import FileError, InputError
from secondorder.workloads.transformer import Experts, LatentAttention, Transformer


def from_config(path: str | Path) -> Transformer:
    """The transformer that a ``config.json`` (the file, or the folder that holds it) describes.

    Biases are not counted, nor is a multi-token prediction module; a precision at which the
    weights were quantised is not read: it is the scenario's. Errors: ``FileError``.
    """
    config = _read(Path(path))
    if nested := sorted({"text_config", "llm_config", "language_config"} & config.values.keys()):
        raise config.fault(
            nested[0],
            given="a model of several parts",
            expected="a language model alone",
            remedy=f"save {nested[0]} as a config.json of its own: the other parts will not be counted",
        )
    model_type = config.values.get("model_type")
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        given = "nothing" if model_type is None else repr(model_type)
        raise config.fault("model_type", given=given, expected=f"one of {', '.join(_FAMILIES)}")
    try:
        return Transformer(name=config.name, note=f"read from {config.path}", **family.read(config, family))
    except FileError:
        raise
    except InputError as error:
        raise config.fault(error.what, given=error.given, expected=error.expected) from None


@dataclass(frozen=True)
class _Config:
    """The values of one file, and errors that name it."""

    path: Path
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As the file calls the model, or else its folder."""
        given = self.values.get("_name_or_path")
        named = given.rstrip("/").rsplit("/", 1)[-1] if isinstance(given, str) else ""
        return named or self.path.resolve().parent.name

    def fault(self, key: str, *, given: object, expected: str, remedy: str = "") -> FileError:
        return FileError(f"{self.path}: {key}", given=given, expected=expected, remedy=remedy)

    def number(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number; ``default`` where the key is null or absent, an error if there is none."""
        value = self.values.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            given = "nothing" if value is None else repr(value)
            raise self.fault(key, given=given, expected=f"a whole number of at least {least}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, given=repr(value), expected="true or false")
        return value


def _read(path: Path) -> _Config:
    file = path / "config.json" if path.is_dir() else path
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or "an unreadable file")
        raise FileError(
            str(file),
            given=reason,
            expected="a model's config.json",
            remedy="download it from the model's page, or take a model of the zoo",
        ) from None
    except ValueError as error:
        raise FileError(str(file), given=f"no JSON ({error})", expected="a model's config.json") from None
    if not isinstance(values, dict):
        raise FileError(str(file), given=f"a JSON {type(values).__name__}", expected="a JSON object of keys")
    return _Config(file, values)


@dataclass(frozen=True, kw_only=True)
class _Family:
    """How one ``model_type`` is read, and what a key that is absent means to it."""

    read: "Callable[[_Config, _Family], dict[str, Any]]"
    tied: bool = False
    head_dim: int | None = None
    """Absent ``head_dim``; none: hidden size over heads."""
    kv_heads_required: bool = True
    """Whether an absent ``num_key_value_heads`` is an error; if not, it is one per head."""
    window: int | None = None
    """Absent ``sliding_window`` of a family that has one, 0: none."""
    window_on_request: bool = False
    """Whether the window counts only if ``use_sliding_window`` is true."""
    qk_norm: bool = False
    experts: "Callable[[_Config], Experts] | None" = None


def _llama_like(config: _Config, family: _Family) -> dict[str, Any]:
    hidden, heads = config.number("hidden_size"), config.number("num_attention_heads")
    _refuse_window(config, family)
    return {
        **_common(config, family, hidden, heads),
        "kv_heads": _kv_heads(config, family, heads),
        "head_dim": _head_dim(config, family, hidden, heads),
        "qk_norm": family.qk_norm,
    }


def _deepseek(config: _Config, family: _Family) -> dict[str, Any]:
    hidden, heads = config.number("hidden_size"), config.number("num_attention_heads")
    latent = LatentAttention(
        kv_rank=config.number("kv_lora_rank"),
        query_rank=_query_rank(config),
        rope_dim=config.number("qk_rope_head_dim"),
        nope_dim=config.number("qk_nope_head_dim"),
        value_dim=config.number("v_head_dim"),
    )
    head_dim = latent.nope_dim + latent.rope_dim
    return {**_common(config, family, hidden, heads), "kv_heads": heads, "head_dim": head_dim, "latent": latent}


def _gpt2(config: _Config, family: _Family) -> dict[str, Any]:
    hidden, heads = config.number("n_embd"), config.number("n_head")
    return {
        "layers": config.number("n_layer"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": _head_dim(config, family, hidden, heads),
        "intermediate": config.number("n_inner", 4 * hidden),
        "vocab": config.number("vocab_size"),
        "max_context": config.number("n_positions"),
        "gated": False,
        "tied_embeddings": config.flag("tie_word_embeddings", family.tied),
        "learned_positions": True,
    }


def _common(config: _Config, family: _Family, hidden: int, heads: int) -> dict[str, Any]:
    return {
        "layers": config.number("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "intermediate": config.number("intermediate_size"),
        "vocab": config.number("vocab_size"),
        "max_context": config.number("max_position_embeddings"),
        "tied_embeddings": config.flag("tie_word_embeddings", family.tied),
        "experts": family.experts(config) if family.experts else None,
    }


def _kv_heads(config: _Config, family: _Family, heads: int) -> int:
    null = "num_key_value_heads" in config.values
    return config.number("num_key_value_heads", heads if null or not family.kv_heads_required else None)


def _head_dim(config: _Config, family: _Family, hidden: int, heads: int) -> int:
    if config.values.get("head_dim") is None and family.head_dim is None and hidden % heads:
        raise config.fault("head_dim", given="nothing", expected=f"a number, as {heads} heads do not divide {hidden}")
    return config.number("head_dim", family.head_dim or hidden // heads)


def _query_rank(config: _Config) -> int:
    if "q_lora_rank" not in config.values:
        raise config.fault("q_lora_rank", given="nothing", expected="a whole number, or null for none")
    return config.number("q_lora_rank", 0, least=0)


def _refuse_window(config: _Config, family: _Family) -> None:
    """A window shorter than the context bounds cache and attention, which are counted whole."""
    if family.window is None or (family.window_on_request and not config.flag("use_sliding_window", False)):
        return
    default = 0 if "sliding_window" in config.values else family.window
    window = config.number("sliding_window", default)
    context = config.number("max_position_embeddings")
    if 0 < window < context:
        raise config.fault(
            "sliding_window",
            given=window,
            expected=f"none, or at least the {context} tokens of max_position_embeddings",
            remedy="limit max_position_embeddings to the window, or set sliding_window to null to count all as full",
        )


def _require_one(config: _Config, key: str) -> None:
    """Refuse a model whose mixtures of experts are not in every layer after the dense ones."""
    if (every := config.number(key, 1)) != 1:
        raise config.fault(key, given=every, expected="1: experts in every layer after the dense ones")


def _mixtral_experts(config: _Config) -> Experts:
    return Experts(
        count=config.number("num_local_experts"),
        top_k=config.number("num_experts_per_tok"),
        intermediate=config.number("intermediate_size"),
    )


def _qwen_experts(config: _Config) -> Experts:
    _require_one(config, "decoder_sparse_step")
    dense = config.values.get("mlp_only_layers") or []
    if dense != list(range(len(dense))):
        raise config.fault("mlp_only_layers", given=dense, expected="none, or the first layers")
    return Experts(
        count=config.number("num_experts"),
        top_k=config.number("num_experts_per_tok"),
        intermediate=config.number("moe_intermediate_size"),
        dense_layers=len(dense),
    )


def _qwen2_experts(config: _Config) -> Experts:
    """Qwen2's one shared expert is a multiple of a routed one: it counts as that many."""
    routed = _qwen_experts(config)
    shared = config.number("shared_expert_intermediate_size", least=0)
    if shared % routed.intermediate:
        expected = f"a multiple of moe_intermediate_size, {routed.intermediate}"
        raise config.fault("shared_expert_intermediate_size", given=shared, expected=expected)
    return Experts(
        count=routed.count,
        top_k=routed.top_k,
        intermediate=routed.intermediate,
        shared=shared // routed.intermediate,
        dense_layers=routed.dense_layers,
    )


def _deepseek_experts(config: _Config) -> Experts:
    _require_one(config, "moe_layer_freq")
    if "n_shared_experts" not in config.values:
        raise config.fault("n_shared_experts", given="nothing", expected="a whole number, or null for none")
    return Experts(
        count=config.number("n_routed_experts"),
        top_k=config.number("num_experts_per_tok"),
        intermediate=config.number("moe_intermediate_size"),
        shared=config.number("n_shared_experts", 0, least=0),
        dense_layers=config.number("first_k_dense_replace", least=0),
    )


_FAMILIES: Mapping[str, _Family] = {
    "llama": _Family(read=_llama_like, kv_heads_required=False),
    "mistral": _Family(read=_llama_like, window=4096),
    "mixtral": _Family(read=_llama_like, window=0, experts=_mixtral_experts),
    "qwen2": _Family(read=_llama_like, window=4096, window_on_request=True),
    "qwen2_moe": _Family(read=_llama_like, window=4096, window_on_request=True, experts=_qwen2_experts),
    "qwen3": _Family(read=_llama_like, window=4096, window_on_request=True, head_dim=128, qk_norm=True),
    "qwen3_moe": _Family(read=_llama_like, window=4096, window_on_request=True, qk_norm=True, experts=_qwen_experts),
    "gemma": _Family(read=_llama_like, head_dim=256, tied=True),
    "phi3": _Family(read=_llama_like, kv_heads_required=False, window=0),
    "deepseek_v2": _Family(read=_deepseek, experts=_deepseek_experts),
    "deepseek_v3": _Family(read=_deepseek, experts=_deepseek_experts),
    "gpt2": _Family(read=_gpt2, tied=True),
}
