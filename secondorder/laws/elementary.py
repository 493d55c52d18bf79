"""Elementary functions whose last bit is the same on every processor: from the C library, number by number.

numpy's own use the processor's vector extensions where it has them, and round differently with them.
"""

import math

import numpy as np

from secondorder.arrays import Floats


def exp(x: Floats) -> Floats:
    """``e^x`` of each number of an array of one axis.

    >>> exp(np.array([0.0, 1.0])).tolist()
    [1.0, 2.718281828459045]
    """
    return np.fromiter(map(math.exp, x.tolist()), float, len(x))


def log(x: Floats) -> Floats:
    """The natural logarithm of each number of an array of one axis.

    >>> log(np.array([1.0, 8.0])).tolist()
    [0.0, 2.0794415416798357]
    """
    return np.fromiter(map(math.log, x.tolist()), float, len(x))


def power(x: Floats, exponent: float) -> Floats:
    """``x^exponent`` of each number of an array of one axis.

    >>> power(np.array([4.0, 9.0]), 0.5).tolist()
    [2.0, 3.0]
    """
    return np.fromiter((math.pow(each, exponent) for each in x.tolist()), float, len(x))
