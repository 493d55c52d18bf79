"""What a release ships with its language model, counted for its bytes only: token prediction, a vision tower."""

from collections.abc import Mapping

from secondorder.workloads.configurations.configuration import Configuration
from secondorder.workloads.layers import Stack, Weight
from secondorder.workloads.mixers import vector

_COPIES = ("deepseek_v3", "deepseek_v32", "glm4_moe")
"""Families whose prediction module ships an embedding and a head of its own."""


def parts(c: Configuration, stack: Stack, whole: Mapping[str, object]) -> dict[str, tuple[Weight, ...]]:
    """The parts that are known, by name."""
    found = {}
    if predicting := _prediction(c, stack):
        found["multi-token prediction"] = predicting
    if isinstance(vision := whole.get("vision_config"), Mapping):
        word = str(vision.get("model_type") or whole.get("model_type"))
        tower = _vision(Configuration(c.path, vision, word, "vision_config."), c)
        if tower:
            found["vision"] = tower
    return found


def _prediction(c: Configuration, stack: Stack) -> tuple[Weight, ...]:
    """One more layer for each depth, a matrix that joins two vectors, norms, and copies where the family ships them."""
    depth = c.count("num_nextn_predict_layers", "mtp_num_hidden_layers")
    c.given("mtp_use_dedicated_embeddings")
    if not depth:
        return ()
    hidden = next(weight.inputs for weight in stack.outside if weight.name == "embed_tokens")
    weights = [*stack.blocks[-1].weights] * depth
    weights += [Weight("eh_proj", hidden, 2 * hidden), vector("enorm", 3 * hidden)] * depth
    if c.model_type in _COPIES:
        vocab = stack.head_parameters // hidden
        weights += [
            Weight("embed_tokens", vocab, hidden, kind="table"),
            Weight("shared_head.head", vocab, hidden, kind="table"),
        ]
    return tuple(weights)


def _vision(v: Configuration, c: Configuration) -> tuple[Weight, ...]:
    """A vision tower of the kinds that are known; nothing for the others."""
    if "qwen3" in v.model_type:
        return _qwen3_vision(v)
    if v.model_type.startswith("qwen2_5_vl") and v.values.get("out_hidden_size"):
        return _qwen2_5_vision(v)
    if v.model_type.startswith("qwen2_vl") and v.values.get("embed_dim"):
        return _qwen2_vision(v, c)
    if v.model_type == "pixtral" and v.values.get("intermediate_size"):
        return _pixtral(v, c)
    if v.model_type == "siglip_vision_model" and c.model_type.startswith("gemma3"):
        return _siglip(v, c)
    return ()


def _encoder(depth: int, hidden: int, inner: int) -> tuple[Weight, ...]:
    """Layers of two norms, attention and a network of two matrices, all with biases."""
    weights = (
        Weight("qkv", 3 * hidden, hidden),
        Weight("proj", hidden, hidden),
        Weight("fc1", inner, hidden),
        Weight("fc2", hidden, inner),
        vector("biases", 4 * hidden + 3 * hidden + 2 * hidden + inner),
    )
    return weights * depth


def _siglip(v: Configuration, c: Configuration) -> tuple[Weight, ...]:
    hidden, side, patch = v.number("hidden_size"), v.number("image_size"), v.number("patch_size")
    text = c.number("hidden_size")
    return (
        *_encoder(v.number("num_hidden_layers"), hidden, v.number("intermediate_size")),
        Weight("patch_embedding", hidden, 3 * patch * patch, kind="table"),
        Weight("position_embedding", (side // patch) ** 2, hidden, kind="table"),
        vector("norms", hidden + 2 * hidden + hidden),
        Weight("projection", hidden, text),
    )


def _qwen2_vision(v: Configuration, c: Configuration) -> tuple[Weight, ...]:
    hidden, text = v.number("embed_dim"), c.number("hidden_size")
    merged = hidden * v.number("spatial_merge_size", default=2) ** 2
    inner = hidden * v.number("mlp_ratio", default=4)
    return (
        *_encoder(v.number("depth"), hidden, inner),
        *_patches(v, hidden),
        Weight("merger.0", merged, merged),
        Weight("merger.2", text, merged),
        vector("merger.bias", merged + text + 2 * hidden),
    )


def _qwen2_5_vision(v: Configuration) -> tuple[Weight, ...]:
    hidden, inner, text = v.number("hidden_size"), v.number("intermediate_size"), v.number("out_hidden_size")
    merged = hidden * v.number("spatial_merge_size", default=2) ** 2
    layer = (
        Weight("qkv", 3 * hidden, hidden),
        Weight("proj", hidden, hidden),
        *(Weight(name, inner, hidden) for name in ("gate_proj", "up_proj")),
        Weight("down_proj", hidden, inner),
        vector("biases", 4 * hidden + 2 * inner + hidden + 2 * hidden),
    )
    return (
        *layer * v.number("depth"),
        *_patches(v, hidden),
        Weight("merger.0", merged, merged),
        Weight("merger.2", text, merged),
        vector("merger.bias", merged + text + hidden),
    )


def _patches(v: Configuration, hidden: int) -> tuple[Weight, ...]:
    pixels = 3 * v.number("temporal_patch_size", default=2) * v.number("patch_size", default=14) ** 2
    return (Weight("patch_embed", hidden, pixels, kind="table"),)


def _pixtral(v: Configuration, c: Configuration) -> tuple[Weight, ...]:
    """Pixtral's tower and the projector of Mistral Small 3.1, which merges patches by four."""
    hidden, inner, text = v.number("hidden_size"), v.number("intermediate_size"), c.number("hidden_size")
    layer = (
        *(Weight(f"{name}_proj", hidden, hidden) for name in "qkvo"),
        *(Weight(name, inner, hidden) for name in ("gate_proj", "up_proj")),
        Weight("down_proj", hidden, inner),
        vector("norms", 2 * hidden),
    )
    return (
        *layer * v.number("num_hidden_layers"),
        Weight("patch_conv", hidden, 3 * v.number("patch_size", default=14) ** 2, kind="table"),
        vector("norms", 2 * hidden),
        Weight("patch_merger", hidden, 4 * hidden),
        Weight("linear_1", text, hidden),
        Weight("linear_2", text, text),
    )


def _qwen3_vision(v: Configuration) -> tuple[Weight, ...]:
    hidden, merge = v.number("hidden_size"), v.number("spatial_merge_size") ** 2
    out, patch = v.number("out_hidden_size"), v.number("patch_size")
    merged = hidden * merge
    deep = len(v.listed("deepstack_visual_indexes") or [])
    merger = (Weight("fc1", merged, merged), Weight("fc2", out, merged))
    return (
        *_encoder(v.number("depth"), hidden, v.number("intermediate_size")),
        Weight("patch_embed", hidden, 3 * v.number("temporal_patch_size", default=2) * patch * patch, kind="table"),
        vector("patch_embed.bias", hidden),
        Weight("pos_embed", v.number("num_position_embeddings"), hidden, kind="table"),
        *merger * (1 + deep),
        vector("merger.bias", (merged + out) * (1 + deep) + 2 * hidden + 2 * merged * deep),
    )
