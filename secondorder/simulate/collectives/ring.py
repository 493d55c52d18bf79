"""A ring without events: when each rank is done, straight from the times of the hops.

Rank ``i`` takes chunk after chunk from rank ``i-1``; hop ``k`` begins when both have done the one before:
``T_i(k) = max(T_i(k-1), T_{i-1}(k-1)) + X_i(k)``.
"""

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats


def finish(start: npt.ArrayLike, hops: npt.ArrayLike) -> Floats:
    """When each rank has done its last hop, in s.

    ``start`` (..., n): when each may begin; ``hops`` (..., stages, n): how long rank ``i`` takes to receive in each
    stage, in s; leading axes broadcast. *Exact*, bit for bit what messages on SimPy give (``events``).

    >>> finish([0.0, 0.0, 0.0], [[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    array([2., 3., 3.])
    """
    times = np.asarray(hops, dtype=np.float64)
    shape = np.broadcast_shapes(np.shape(start), times[..., 0, :].shape if times.shape[-2] else np.shape(start))
    now = np.broadcast_to(np.asarray(start, dtype=np.float64), shape)
    for stage in range(times.shape[-2]):
        now = np.maximum(now, np.roll(now, 1, axis=-1)) + times[..., stage, :]
    return np.array(now)
