"""A jittered ring, compiled: the floats of ``simulate.collectives.ring``, run by run instead of stage by stage."""

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.simulate.kernels.compilation import announced, compiled


def finish(start: npt.ArrayLike, hops: npt.ArrayLike) -> Floats:
    """When each rank has done its last hop, in s: ``T_i(k) = max(T_i(k-1), T_{i-1}(k-1)) + X_i(k)``.

    ``start`` (..., n): when each may begin; ``hops`` (..., stages, n): how long rank ``i`` takes to receive in each
    stage, in s; leading axes broadcast.

    >>> finish([0.0, 0.0, 0.0], [[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    array([2., 3., 3.])
    """
    times = np.asarray(hops, dtype=np.float64)
    *lead, stages, ranks = times.shape
    shape = (*np.broadcast_shapes(np.shape(start)[:-1], tuple(lead)), ranks)
    now = np.array(np.broadcast_to(np.asarray(start, np.float64), shape)).reshape(-1, ranks)
    each = np.broadcast_to(times, (*shape[:-1], stages, ranks)).reshape(-1, stages, ranks)
    with announced(pass_round):
        pass_round(now, np.require(each, requirements=("C", "W")))
    return now.reshape(shape)


@compiled
def pass_round(now: Floats, hops: Floats) -> None:
    """Let each run's ranks take their hops; ``now`` is when each is ready, then when each is done."""
    runs, stages, ranks = hops.shape
    for run in range(runs):
        for stage in range(stages):
            before = now[run, ranks - 1]
            for rank in range(ranks):
                own = now[run, rank]
                now[run, rank] = max(own, before) + hops[run, stage, rank]
                before = own
