"""Records of whole numbers that kernels read and write by name."""

from typing import TypeVar, cast, get_type_hints

import numpy as np

Record = TypeVar("Record")


def records(fields: type[Record], count: int) -> list[Record]:
    """So many records of zeros, with an integer for each field of a class: of 32 bits where it says so, else of 64.

    They are an array, which to the type checker looks like a list of instances of the class.
    """
    layout = [(name, np.int32 if kind is np.int32 else np.int64) for name, kind in get_type_hints(fields).items()]
    return cast(list[Record], np.zeros(count, layout).view(np.recarray))
