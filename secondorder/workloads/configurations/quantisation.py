"""The formats that a ``quantization_config`` (or a ``hf_quant_config.json`` beside the file) describes.

Bits with their scales: GPTQ and AWQ store 4 bits, an fp16 scale and a zero point for each group; fp8 one byte, with an
fp32 scale a tensor, a row or a block of 128 by 128; mxfp4 half a byte and a byte a group of 32 (4.25 bits); nvfp4 half
a byte, an fp8 scale a group of 16 and two fp32 a matrix (4.5 bits). Modules that a file names, and router, embedding
and, but where it says so, the head stay in 16 bits.
"""

import re
from collections.abc import Mapping

from secondorder.workloads.checkpoints import Chooser, Format, Modules
from secondorder.workloads.configurations.configuration import Configuration

_REMEDY = "remove the key to count all weights at the file's dtype, or give the service's precision"

NVFP4 = Format(name="nvfp4", bits=4, scale_bytes=1, group=16, matrix_bytes=8)
MXFP4 = Format(name="mxfp4", bits=4, scale_bytes=1, group=32)
FP8 = Format(name="fp8", bits=8, matrix_bytes=8)


def chooser(c: Configuration) -> tuple[str, Chooser]:
    """What a table of quantisation says: the name of its format, and the format of each module."""
    method = str(c.given("quant_method") or "").lower()
    if not method and c.has("quant_algo", "quantization"):
        method = "modelopt"
    read = _METHODS.get(method)
    if read is None:
        given = "nothing" if not method else repr(method)
        raise c.fault("quant_method", given=given, expected=f"one of {', '.join(_METHODS)}", remedy=_REMEDY)
    found: tuple[str, Chooser] = read(c)
    return found


def _strings(c: Configuration, *keys: str) -> list[str]:
    """The names under the first of the keys that has any."""
    for key in keys:
        value = c.given(key)
        if isinstance(value, Mapping):
            value = list(value)
        if isinstance(value, list) and value:
            return [str(one) for one in value]
    return []


def _but(format: Format, kept: Modules, *, head: bool = False) -> tuple[str, Chooser]:
    """One format for all linear modules but the kept ones; the head only where ``head`` says so."""

    def choose(module: str) -> Format | None:
        if module in kept or (module == "lm_head" and not head):
            return None
        return format

    return format.name, choose


def _gptq(c: Configuration) -> tuple[str, Chooser]:
    bits, group = c.number("bits", "w_bit"), _group(c, 128)
    format = Format(name=f"gptq int{bits}", bits=bits, scale_bytes=2, group=group, zero_bits=bits, index_bytes=4)
    dynamic = c.given("dynamic")
    if not isinstance(dynamic, Mapping) or not dynamic:
        return _but(format, Modules.of(_strings(c, "modules_to_not_convert"), parts=True), head=c.flag("lm_head"))
    rules: list[tuple[re.Pattern[str], Format | None]] = []
    for pattern, change in dynamic.items():
        own = None if pattern.startswith("-:") else _changed(format, change)
        rules.append((re.compile(pattern.removeprefix("-:").removeprefix("+:")), own))

    def choose(module: str) -> Format | None:
        for pattern, own in rules:
            if pattern.match(module):
                return own
        return format if module != "lm_head" or c.flag("lm_head") else None

    return format.name, choose


def _changed(format: Format, change: object) -> Format:
    values = change if isinstance(change, Mapping) else {}
    bits, group = values.get("bits", format.bits), values.get("group_size", format.group)
    return Format(
        name=format.name,
        bits=float(bits),
        scale_bytes=2,
        group=int(group),
        zero_bits=float(bits),
        index_bytes=format.index_bytes,
    )


def _group(c: Configuration, default: int) -> int:
    value = c.given("group_size")
    if value is None:
        value = c.given("q_group_size")
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _awq(c: Configuration) -> tuple[str, Chooser]:
    bits = c.number("bits", "w_bit", default=4)
    format = Format(name=f"awq int{bits}", bits=bits, scale_bytes=2, group=_group(c, 128), zero_bits=bits)
    return _but(format, Modules.of(_strings(c, "modules_to_not_convert"), parts=True))


def _fp8(c: Configuration) -> tuple[str, Chooser]:
    block = c.listed("weight_block_size")
    kept = Modules.of(_strings(c, "modules_to_not_convert", "ignored_layers", "ignore"), parts=True)
    if block is None:
        return _but(FP8, kept)
    rows, columns = (int(str(one)) for one in block)
    return _but(Format(name="fp8 by block", bits=8, scale_bytes=4, block=(rows, columns)), kept)


def _fbgemm(c: Configuration) -> tuple[str, Chooser]:
    rows = Format(name="fp8 by channel", bits=8, scale_bytes=4, group=-1)
    return _but(rows, Modules.of(_strings(c, "modules_to_not_convert"), parts=True))


def _mxfp4(c: Configuration) -> tuple[str, Chooser]:
    """Of gpt-oss: the experts alone, unless the file lists other modules that stay."""
    kept = Modules.of(_strings(c, "modules_to_not_convert"), parts=True)

    def choose(module: str) -> Format | None:
        return MXFP4 if ".experts." in module and module not in kept else None

    return "mxfp4", choose


def _bitsandbytes(c: Configuration) -> tuple[str, Chooser]:
    kept = Modules.of(_strings(c, "llm_int8_skip_modules"), parts=True)
    if c.flag("load_in_8bit") or c.flag("_load_in_8bit"):
        return _but(Format(name="bitsandbytes int8", bits=8, scale_bytes=4, group=-1), kept)
    scale = 1 + 4 / 256 if c.flag("bnb_4bit_use_double_quant") else 4.0
    return _but(Format(name="bitsandbytes 4 bit", bits=4, scale_bytes=scale, group=64), kept)


def _compressed_tensors(c: Configuration) -> tuple[str, Chooser]:
    groups = c.table("config_groups")
    if groups is None or not groups.values:
        raise c.fault("config_groups", given="nothing", expected="a table of groups", remedy=_REMEDY)
    kept = Modules.of(_strings(c, "ignore"))
    targets: list[tuple[list[str], Modules, Format]] = []
    for name in groups.values:
        group = groups.table(name)
        weights = group.table("weights") if group is not None else None
        if group is None or weights is None:
            continue
        names = _strings(group, "targets") or ["Linear"]
        targets.append((names, Modules.of(names), _of_weights(weights)))
    if not targets:
        raise c.fault(
            "config_groups", given="no group with weights", expected="weights of num_bits and type", remedy=_REMEDY
        )

    def choose(module: str) -> Format | None:
        if module in kept:
            return None
        for names, modules, format in targets:
            if "Linear" in names or module in modules:
                return format
        return None

    return " and ".join(dict.fromkeys(format.name for _, _, format in targets)), choose


def _of_weights(c: Configuration) -> Format:
    """One group's weights: bits, type, and how far a scale reaches."""
    bits, kind, strategy = c.number("num_bits"), c.word("type", "int"), c.word("strategy")
    group = c.given("group_size")
    zero = bits if kind == "int" and not c.flag("symmetric", True) else 0
    if bits == 4 and kind == "float":
        return MXFP4 if group == 32 else NVFP4
    if isinstance(block := c.given("block_structure"), list) and len(block) == 2:
        return Format(name=f"{kind}{bits} by block", bits=bits, scale_bytes=4, block=(int(block[0]), int(block[1])))
    if isinstance(group, int) and group > 0:
        return Format(
            name=f"{kind}{bits} in groups of {group}",
            bits=bits,
            scale_bytes=2,
            group=group,
            zero_bits=zero,
            matrix_bytes=16,
        )
    if strategy == "tensor":
        return Format(name=f"{kind}{bits}", bits=bits, matrix_bytes=8)
    return Format(name=f"{kind}{bits} by channel", bits=bits, scale_bytes=2, group=-1, zero_bits=zero)


_ALGORITHMS: Mapping[str, Format] = {
    "FP8": FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": Format(name="fp8 by channel", bits=8, scale_bytes=4, group=-1),
    "FP8_PB_WO": Format(name="fp8 by block", bits=8, scale_bytes=4, block=(128, 128)),
    "NVFP4": NVFP4,
    "NVFP4_AWQ": NVFP4,
    "W4A8_NVFP4_FP8": NVFP4,
    "MXFP4": MXFP4,
    "W4A8_MXFP4_FP8": MXFP4,
    "MXFP8": Format(name="mxfp8", bits=8, scale_bytes=1, group=32),
    "INT8_SQ": Format(name="int8 by channel", bits=8, scale_bytes=4, group=-1),
    "W4A16_AWQ": Format(name="int4 in groups of 128", bits=4, scale_bytes=2, group=128),
    "W4A8_AWQ": Format(name="int4 in groups of 128", bits=4, scale_bytes=2, group=128),
}


def _modelopt(c: Configuration) -> tuple[str, Chooser]:
    """NVIDIA's ModelOpt, in the file itself or in ``hf_quant_config.json``."""
    inner = c.table("quantization") or c
    kept = Modules.of(_strings(inner, "exclude_modules", "ignore"))
    word = str(inner.given("quant_algo") or "").upper()
    if word == "MIXED_PRECISION":
        return _mixed(inner, kept)
    if word not in _ALGORITHMS:
        raise inner.fault("quant_algo", given=repr(word), expected=f"one of {', '.join(_ALGORITHMS)}", remedy=_REMEDY)
    return _but(_ALGORITHMS[word], kept, head=True)


def _mixed(c: Configuration, kept: Modules) -> tuple[str, Chooser]:
    listed = c.table("quantized_layers")
    if listed is None:
        raise c.fault(
            "quantized_layers", given="nothing", expected="a table with each layer's quant_algo", remedy=_REMEDY
        )
    formats: dict[str, Modules] = {}
    names: dict[str, list[str]] = {}
    for module in listed.values:
        own = listed.table(module)
        word = str(own.given("quant_algo") if own is not None else "").upper()
        if word not in _ALGORITHMS:
            raise listed.fault(module, given=repr(word), expected=f"one of {', '.join(_ALGORITHMS)}", remedy=_REMEDY)
        names.setdefault(word, []).append(module)
    formats = {word: Modules.of(modules) for word, modules in names.items()}

    def choose(module: str) -> Format | None:
        if module in kept:
            return None
        return next((_ALGORITHMS[word] for word, modules in formats.items() if module in modules), None)

    return " and ".join(_ALGORITHMS[word].name for word in formats), choose


def _auto_round(c: Configuration) -> tuple[str, Chooser]:
    bits = c.number("bits", default=4)
    format = Format(
        name=f"auto-round int{bits}", bits=bits, scale_bytes=2, group=_group(c, 128), zero_bits=bits, index_bytes=4
    )
    own, kept = c.given("extra_config"), []
    changes: dict[str, Format] = {}
    for name, change in own.items() if isinstance(own, Mapping) else ():
        width = change.get("bits") if isinstance(change, Mapping) else None
        if isinstance(width, int) and width >= 16:
            kept.append(name)
        else:
            changes[name] = _changed(format, change)
    excluded = Modules.of([*kept, *_strings(c, "modules_to_not_convert")], parts=True)

    def choose(module: str) -> Format | None:
        if module in excluded or module == "lm_head":
            return None
        return changes.get(module, format)

    return format.name, choose


def _quark(c: Configuration) -> tuple[str, Chooser]:
    """AMD's Quark."""
    overall = c.table("global_quant_config")
    weight = overall.table("weight") if overall is not None else None
    if weight is None:
        raise c.fault("global_quant_config", given="nothing", expected="a table with weight", remedy=_REMEDY)
    kept = Modules.of(_strings(c, "exclude"))
    word = weight.word("dtype")
    formats = {
        "fp8_e4m3": FP8,
        "fp4": MXFP4,
        "int4": Format(name="int4", bits=4, scale_bytes=2, group=_group(weight, 128)),
        "int8": Format(name="int8 by channel", bits=8, scale_bytes=4, group=-1),
    }
    if word not in formats:
        raise weight.fault("dtype", given=repr(word), expected=f"one of {', '.join(formats)}", remedy=_REMEDY)
    return _but(formats[word], kept, head=True)


_METHODS = {
    "gptq": _gptq,
    "awq": _awq,
    "fp8": _fp8,
    "deepseek_v4_fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "quark": _quark,
}
