"""The values of one ``config.json``: read with their kind checked, each key's use remembered.

A key that is absent means what the family's configuration class in transformers says (``defaults.json``, of 5.24.0);
a size must be given at the top of the file, where the class's default is merely some model's size. A part of a model
(``text_config``) is saved without what equals the default, so there absent sizes are the class's own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from secondorder.errors import FileError
from secondorder.files import read_text

SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "num_experts",
    "num_experts_per_tok",
    "num_local_experts",
    "n_routed_experts",
    "moe_intermediate_size",
    "first_k_dense_replace",
    "kv_lora_rank",
    "q_lora_rank",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "v_head_dim",
    "n_embd",
    "n_layer",
    "n_head",
    "d_model",
    "n_layers",
    "n_heads",
    "max_position_embeddings",
    "n_positions",
)
"""Keys that must be given where the file is not part of another one."""

PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
"""Words of a file for the formats that weights are stored in."""


@lru_cache(maxsize=1)
def _defaults() -> Mapping[str, Mapping[str, object]]:
    text = (files("secondorder.workloads.configurations") / "defaults.json").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, object]] = json.loads(text)
    return found


def class_default(model_type: str, key: str) -> object:
    """What the family's configuration class says of a key."""
    return _defaults().get(model_type, {}).get(key)


@dataclass(frozen=True)
class Configuration:
    """One file's values, and errors that name the file and the key.

    ``inside`` is the part that the values stand in (``text_config.``); ``used`` collects the keys that were read.
    """

    path: Path
    values: Mapping[str, object]
    model_type: str = ""
    inside: str = ""
    used: set[str] = field(default_factory=set, compare=False)

    def fault(self, key: str, *, given: object, expected: str, remedy: str = "") -> FileError:
        return FileError(f"{self.path}: {self.inside}{key}", given=_short(given), expected=expected, remedy=remedy)

    def given(self, key: str) -> object:
        """The value in the file, or nothing."""
        self.used.add(key)
        return self.values.get(key)

    def has(self, *keys: str) -> bool:
        """Whether any of the keys has a value other than null."""
        return any(self.given(key) is not None for key in keys)

    def default(self, key: str) -> object:
        """What the family's class puts where the key is absent: nothing for a size that a whole file must give."""
        if key in SIZES and not self.inside:
            return None
        return class_default(self.model_type, key)

    def number(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """The whole number under the first of the keys that is there; ``default`` where none is, else the class's."""
        for key in keys:
            if (value := self.given(key)) is not None:
                return self._whole(key, value, least)
        if default is not None:
            return default
        for key in keys:
            if (value := self.default(key)) is not None:
                return self._whole(key, value, least)
        raise self.fault(keys[0], given="nothing", expected=f"a whole number of at least {least}")

    def count(self, *keys: str) -> int:
        """As ``number``, 0 where nothing says anything."""
        for key in keys:
            if (value := self.given(key)) is not None:
                return self._whole(key, value, 0)
        for key in keys:
            if key in SIZES and not self.inside and class_default(self.model_type, key):
                raise self.fault(key, given="nothing", expected="a whole number")
            if (value := self.default(key)) is not None:
                return self._whole(key, value, 0)
        return 0

    def _whole(self, key: str, value: object, least: int) -> int:
        if isinstance(value, list) and value and all(one == value[0] for one in value):
            value = value[0]  # a list with the same number for each layer
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.fault(key, given=repr(value), expected=f"a whole number of at least {least}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.given(key)
        if value is None:
            value = self.default(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fault(key, given=repr(value), expected="true or false")
        return value

    def word(self, key: str, default: str = "") -> str:
        value = self.given(key)
        if value is None:
            value = self.default(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.fault(key, given=repr(value), expected="a word")
        return value

    def listed(self, key: str, length: int | None = None) -> list[object] | None:
        """A list, of one value for each layer where ``length`` is given; nothing where the key is absent or null."""
        value = self.given(key)
        if value is None:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or (length is not None and len(value) != length):
            expected = "a list" if length is None else f"a list of {length} values, one for each layer"
            size = f"{len(value)} values" if isinstance(value, Sequence) and not isinstance(value, str) else repr(value)
            raise self.fault(key, given=size, expected=expected)
        return list(value)

    def table(self, key: str) -> "Configuration | None":
        """A nested object; nothing where the key is absent or null."""
        value = self.given(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.fault(key, given=repr(value), expected="a table")
        return Configuration(self.path, value, self.model_type, f"{self.inside}{key}.")


def _short(given: object) -> object:
    return given if not isinstance(given, str) or len(given) <= 120 else f"{given[:117]}..."


def read_json(path: Path, expected: str) -> Mapping[str, object]:
    """The object in a JSON file. Errors: ``FileError``."""
    try:
        values = json.loads(read_text(path, encoding="utf-8-sig"))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or "an unreadable file")
        remedy = "download it from the model's page, or take a model of the zoo"
        raise FileError(str(path), given=reason, expected=expected, remedy=remedy) from None
    except (ValueError, RecursionError) as error:
        raise FileError(str(path), given=f"text that is not JSON ({error})", expected=expected) from None
    if not isinstance(values, dict):
        raise FileError(str(path), given=f"a JSON {type(values).__name__}", expected="a JSON object of keys")
    return values
