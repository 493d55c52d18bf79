"""Records of whole numbers that kernels read and write by name."""

from typing import TypeVar, cast, get_type_hints

import numpy as np

Record = TypeVar("Record")


def records(fields: type[Record], count: int) -> list[Record]:
    """So many records of zeros, with a 64-bit integer for each field of a class.

    They are an array, which to the type checker looks like a list of instances of the class.
    """
    layout = np.dtype([(name, np.int64) for name in get_type_hints(fields)])
    return cast(list[Record], np.zeros(count, layout).view(np.recarray))
