"""Records of whole numbers that kernels read and write by name."""

from typing import Annotated, TypeAlias, TypeVar, cast, get_type_hints

import numpy as np

from secondorder.arrays import Integers

Record = TypeVar("Record")
Int32: TypeAlias = Annotated[int, np.int32]
"""A field of 32 bits instead of 64."""


def records(fields: type[Record], count: int) -> list[Record]:
    """A number of records of zeros, with an integer for each field of a class: an ``int`` or an ``Int32``.

    They are an array, which to the type checker looks like a list of instances of the class.
    """
    return filled(fields, count)


def filled(fields: type[Record], count: int, **values: int | Integers) -> list[Record]:
    """The same, with other values of some fields."""
    hints = get_type_hints(fields, include_extras=True)
    layout = [(name, np.int32 if kind == Int32 else np.int64) for name, kind in hints.items()]
    array = np.zeros(count, layout).view(np.recarray)
    for name, value in values.items():
        array[name] = value
    return cast(list[Record], array)
