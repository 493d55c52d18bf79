"""Communication hidden behind computation: buckets of gradients are sent while the backward pass goes on.

Bucket ``k`` is ready when the computation before it is done, and goes when the one before it has gone:
``ready_k = compute_1 + ... + compute_k``, ``finish_k = max(finish_{k-1}, ready_k) + comm_k``.
"""

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, non_negative, plain
from secondorder.errors import InputError


def finish(*, compute: npt.ArrayLike, comm: npt.ArrayLike) -> Floats:
    """When the communication of each bucket ends, in s from the start of the computation.

    ``finish_k = max over j <= k of (ready_j + comm_j + ... + comm_k)``, the recursion of the module unrolled.
    *Exact* for given times, *valid when* communication does not slow computation, one bucket goes at a time,
    in order. ``compute`` and ``comm`` in s, buckets along the last axis, broadcast. Errors: ``InputError``.
    *Source*: Li and others, PyTorch distributed (2020), section 3.2.3, for the buckets; Lindley 1952 for the recursion.

    >>> finish(compute=[1.0, 1.0, 1.0], comm=[2.0, 0.5, 0.5])
    array([3. , 3.5, 4. ])
    """
    work, sent = _buckets(compute, comm)
    ready, before = np.cumsum(work, axis=-1), np.cumsum(sent, axis=-1) - sent
    return np.asarray(np.maximum.accumulate(ready - before, axis=-1) + before + sent)


def exposed(*, compute: npt.ArrayLike, comm: npt.ArrayLike) -> Real:
    """Communication in s that no computation hides: ``max(0, finish_last - (compute_1 + ... + compute_last))``.

    It lies between ``max(comm_last, sum(comm) - sum of the compute after the first bucket)`` and ``sum(comm)``,
    and is no constant fraction of either. *Exact* for given times, *valid when* as ``finish``. ``compute`` and
    ``comm`` in s, buckets along the last axis, broadcast. Errors: ``InputError``. *Source*: as ``finish``.

    >>> exposed(compute=[1.0, 1.0, 1.0], comm=[0.5, 0.5, 0.5]), exposed(compute=[1.0, 1.0, 1.0], comm=[2.0, 2.0, 2.0])
    (0.5, 4.0)
    """
    work, _ = _buckets(compute, comm)
    return plain(np.maximum(finish(compute=compute, comm=comm)[..., -1] - work.sum(axis=-1), 0.0))


def _buckets(compute: npt.ArrayLike, comm: npt.ArrayLike) -> tuple[Floats, Floats]:
    work = non_negative("compute", np.asarray(compute, dtype=np.float64))
    sent = non_negative("comm", np.asarray(comm, dtype=np.float64))
    if work.ndim == 0 or sent.ndim == 0 or not work.shape[-1] or not sent.shape[-1]:
        raise InputError("compute and comm", given="single numbers", expected="a time for each bucket")
    work, sent = np.broadcast_arrays(work, sent)
    return work, sent
