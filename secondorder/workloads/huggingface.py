"""A model from its Hugging Face ``config.json``, read from a local file or from the folder that holds it.

Its layers are counted one by one: attention to the whole context or to a window, latent and sparse attention, linear
attention and state spaces, mixtures of experts, pruned layers; its weights as the checkpoint stores them. A family
that is not known, a key that changes the count and is not known to the family, a value of the wrong kind are errors
that name the file and the key.

>>> import tempfile
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
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from secondorder.errors import FileError, InputError
from secondorder.workloads.checkpoints import Stored, stored
from secondorder.workloads.configurations import beside, decoders
from secondorder.workloads.configurations.configuration import PRECISIONS, Configuration, read_json
from secondorder.workloads.configurations.families import family_of, readers
from secondorder.workloads.configurations.keys import check_keys
from secondorder.workloads.configurations.quantisation import chooser
from secondorder.workloads.layers import Stack
from secondorder.workloads.transformer import Experts, LatentAttention, Transformer

PARTS = ("text_config", "llm_config", "language_config", "language_model_config", "text_model", "thinker_config")
"""Keys under which a model of several parts keeps its language model."""


def from_config(path: str | Path) -> Transformer:
    """The transformer that a ``config.json`` (the file, or the folder that holds it) describes.

    Of a model of several parts the language model is read. A ``hf_quant_config.json`` beside the file (or named like
    it) tells how a quantised checkpoint stores its weights, as ``quantization_config`` inside it does. Errors:
    ``FileError``.
    """
    given = Path(path)
    file = given / "config.json" if given.is_dir() else given
    values = read_json(file, "a model's config.json")
    named = values.get("_name_or_path")
    name = named.rstrip("/").rsplit("/", 1)[-1] if isinstance(named, str) else ""
    return from_values(values, path=file, name=name or _called(file), quantisation=_beside(file))


def _called(file: Path) -> str:
    return file.resolve().parent.name if file.name == "config.json" else file.stem


def _beside(file: Path) -> Mapping[str, object] | None:
    """What ``hf_quant_config.json`` says, in the same folder or with the same beginning."""
    name = "hf_quant_config.json"
    found = file.with_name(name if file.name == "config.json" else f"{file.stem}.{name}")
    return read_json(found, "ModelOpt's description of a checkpoint") if found.is_file() else None


def from_values(
    values: Mapping[str, object], *, path: Path, name: str = "", quantisation: Mapping[str, object] | None = None
) -> Transformer:
    """The model that the keys of a ``config.json`` describe; errors name ``path``."""
    config = _language_model(Configuration(path, values))
    if config.flag("is_encoder_decoder"):
        raise config.fault(
            "is_encoder_decoder",
            given="true: an encoder and a decoder",
            expected="a decoder alone",
            remedy="give the decoder's shape as a table of its own: its cross-attention keeps a second cache",
        )
    read = readers().get(family_of(config.model_type))
    if read is None:
        raise _unknown(config)
    try:
        stack = read(config)
        stack = replace(stack, beside=beside.parts(config, stack, values))
        model = _described(config, stack, name)
        check_keys(config)
        return replace(model, stored=_stored(config, values, stack, quantisation))
    except FileError:
        raise
    except InputError as error:
        raise config.fault(error.what, given=error.given, expected=error.expected) from None


def _language_model(config: Configuration) -> Configuration:
    """The part of a file that is the language model, with what the whole says of it."""
    for key in PARTS:
        part = config.values.get(key)
        if not isinstance(part, Mapping) or ("hidden_size" in config.values and "num_hidden_layers" in config.values):
            continue
        shared = ("tie_word_embeddings", "dtype", "torch_dtype", "quantization_config", "architectures")
        merged = {key: config.values[key] for key in shared if key in config.values} | dict(part)
        word = part.get("model_type") or config.values.get("model_type")
        inner = Configuration(config.path, merged, _word(word), f"{config.inside}{key}.")
        return _language_model(inner)
    return replace(config, model_type=config.model_type or _word(config.values.get("model_type")))


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _unknown(config: Configuration) -> FileError:
    """The error for a family that is not in the table, with one of those that would read the file."""
    fitting = [name for name in ("llama", "qwen3_moe", "deepseek_v3", "mixtral", "qwen3_next") if _fits(config, name)]
    remedy = "model_type is the key to set to a family with the same layers"
    if fitting:
        remedy = f'if its layers are like those of {fitting[0]}, set model_type to "{fitting[0]}"'
    given = repr(config.model_type) if config.model_type else "nothing"
    near = get_close_matches(config.model_type, readers(), n=3, cutoff=0.8)
    first = near or ["llama", "qwen3_moe", "deepseek_v3"]
    expected = f"one of {', '.join(first)} and {len(readers()) - len(first)} other families"
    return config.fault("model_type", given=given, expected=expected, remedy=remedy)


def _fits(config: Configuration, family: str) -> bool:
    trial = Configuration(config.path, config.values, family, config.inside)
    try:
        readers()[family](trial)
        check_keys(trial)
    except InputError:
        return False
    return True


def _described(c: Configuration, stack: Stack, name: str) -> Transformer:
    """The usual layer's shape, and the layers themselves."""
    hidden = decoders.hidden_of(c)
    attends = c.has("num_attention_heads", "n_head", "n_heads") and bool(stack.caches)
    heads = decoders.heads_of(c) if attends else 1
    latent = _latent(c)
    head_dim = latent.nope_dim + latent.rope_dim if latent else decoders.head_dim_of(c, hidden, heads)
    usual = max(stack.caches, key=lambda pair: pair[1])[0].values if stack.caches else 2 * head_dim
    kv_heads = heads if latent else max(1, usual // (2 * head_dim))
    names = {weight.name.rsplit(".", 1)[-1] for weight, _ in stack.weights}
    tables = {weight.name for weight in stack.outside}
    norm = next((w.size for w, _ in stack.weights if w.name.endswith("self_attn.norm")), 0)
    return Transformer(
        name=name or c.model_type,
        layers=len(stack.blocks),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads if heads % kv_heads == 0 else heads,
        head_dim=head_dim,
        intermediate=_intermediate(c, stack),
        vocab=stack.head_parameters // hidden,
        max_context=decoders.context_of(c),
        gated="gate_proj" in names,
        tied_embeddings=stack.head == "embed_tokens",
        learned_positions=bool(tables & {"wpe", "embed_positions"}),
        qk_norm=latent is None and norm == 2 * head_dim,
        experts=_experts(stack),
        latent=latent,
        stack=stack,
        note=_note(c, stack),
    )


def _latent(c: Configuration) -> LatentAttention | None:
    if not c.has("kv_lora_rank"):
        return None
    return LatentAttention(
        kv_rank=c.number("kv_lora_rank"),
        query_rank=c.number("q_lora_rank", default=0, least=0) if c.given("q_lora_rank") is not None else 0,
        rope_dim=c.number("qk_rope_head_dim"),
        nope_dim=c.number("qk_nope_head_dim"),
        value_dim=c.number("v_head_dim"),
    )


def _intermediate(c: Configuration, stack: Stack) -> int:
    """Width of the usual feed-forward network: as the file says, or of the dense layers, or else of an expert."""
    if isinstance(width := c.given("intermediate_size"), int) and width > 0:
        return width
    ups = [
        (weight, many)
        for weight, many in stack.weights
        if weight.name.endswith("up_proj") and "shared" not in weight.name
    ]
    dense = [pair for pair in ups if pair[0].used is None] or ups
    return max(dense, key=lambda pair: pair[1])[0].outputs if dense else 1


def _experts(stack: Stack) -> Experts | None:
    """The mixture of the layers that have one, by its first matrix."""
    routed = next((weight for weight, _ in stack.weights if weight.used is not None and weight.kind == "linear"), None)
    if routed is None:
        return None
    shared = next((w.outputs for w, _ in stack.weights if "shared" in w.name and w.name.endswith("up_proj")), 0)
    sparse = sum(any(weight.used is not None for weight in layer.weights) for layer in stack.blocks)
    return Experts(
        count=routed.copies,
        top_k=routed.passed,
        intermediate=routed.outputs,
        shared=shared // routed.outputs,
        dense_layers=len(stack.blocks) - sparse,
    )


def _note(c: Configuration, stack: Stack) -> str:
    note = f"read from {c.path}"
    if c.inside:
        note += f", its {c.inside.rstrip('.')}"
    counted = [f"{part} {sum(w.size * w.copies for w in weights):,}" for part, weights in stack.beside.items()]
    return f"{note}; beside the language model: {', '.join(counted)}" if counted else note


def _stored(
    c: Configuration, whole: Mapping[str, object], stack: Stack, separate: Mapping[str, object] | None
) -> Stored:
    """Bytes by the file's dtype, and by its quantisation where it has one."""
    word = c.values.get("dtype") or c.values.get("torch_dtype") or whole.get("dtype") or whole.get("torch_dtype")
    kept = PRECISIONS.get(_word(word) or "bfloat16", "bf16")
    table = c.values.get("quantization_config") or whole.get("quantization_config") or separate
    if table is None:
        return stored(stack, kept=kept)
    if not isinstance(table, Mapping):
        raise c.fault("quantization_config", given=repr(table), expected="a table")
    where = Configuration(c.path, table, c.model_type, "quantization_config.")
    format, choose = chooser(where)
    return stored(stack, kept=kept, format=format, choose=choose)


__all__ = ["from_config", "from_values", "json"]
