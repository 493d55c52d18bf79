"""Random streams by purpose: changing one cause leaves the draws of the others alone.

>>> a = stream(1, 0, "arrivals").random()
>>> a == stream(1, 0, "arrivals").random(), a == stream(1, 0, "lengths").random()
(True, False)
"""

from zlib import crc32

import numpy as np


def stream(seed: int, replication: int, cause: str) -> np.random.Generator:
    """The generator of one random cause in one replication of a seed.

    Streams of different causes, replications or seeds are independent; the same three give
    the same draws in every scenario, which is what common random numbers need.
    """
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(replication, crc32(cause.encode()))))
    )
