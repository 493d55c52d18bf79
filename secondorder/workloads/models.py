"""Models by name: ``models.llama_3_1_8b``.

Most entries are a ``Transformer``, by its shape or (``kind = "config"``) by the keys of its config.json; those of
``kind = "network"`` are a ``Network``.

>>> models.llama_3_1_70b.kv_bytes_per_token("bf16")
327680.0
>>> models.resnet50.parameters
25557032
>>> models.llama_8b
Traceback (most recent call last):
secondorder.errors.UnknownName: models: got 'llama_8b', expected one of ... names; did you mean llama_3_1_8b or ...
"""

from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Any

from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Experts, LatentAttention, Transformer
from secondorder.zoo import Source, Zoo, read_entries


def _transformer(**fields: Any) -> Transformer:
    if "experts" in fields:
        fields["experts"] = Experts(**fields["experts"])
    if "latent" in fields:
        fields["latent"] = LatentAttention(**fields["latent"])
    return Transformer(**fields)


def _config(*, name: str, note: str = "", sources: Mapping[str, Source], **values: Any) -> Transformer:
    """A model by the keys of its config.json, whose one source covers every figure."""
    from secondorder.workloads.huggingface import from_values

    (source,) = set(sources.values())
    model = from_values(values, path=Path(f"models.toml: {name}"), name=name)
    return replace(model, note=note, sources={each.name: source for each in dataclass_fields(model)})


_KINDS: Mapping[str, Callable[..., Transformer | Network]] = {
    "transformer": _transformer,
    "network": Network,
    "config": _config,
}


def _load() -> dict[str, Transformer | Network]:
    entries: dict[str, Transformer | Network] = {}
    for name, (fields, sources) in read_entries("secondorder.workloads", "models.toml").items():
        make = _KINDS[fields.pop("kind", "transformer")]
        sources.pop("kind", None)
        entries[name] = make(**fields, sources=sources)
    return entries


# Any, because a name tells the reader, but not a type checker, which of the two kinds it is.
models: Zoo[Any] = Zoo("models", _load)
