"""Replicas of attention that wait for each other in each step, request by request."""

import numpy as np

from secondorder.simulate.streams import stream


def idle_share(
    *,
    batch: int,
    prompt: float,
    output: float,
    replicas: int,
    steps: int,
    correlation: float = 0.0,
    seed: int = 0,
    replication: int = 0,
) -> float:
    """Share of the replicas' time that they wait, over ``steps`` steps whose time is proportional to the tokens held.

    Each of ``batch`` requests on each replica has ``prompt`` tokens and grows by one with each step until it ends, with
    probability ``1/output``, and another begins. With ``correlation`` the requests of a replica deviate together:
    their ages keep ``1 - correlation`` of their variance and share the rest, normal, drawn again with each step.
    """
    chance, shared = (stream(seed, replication, cause) for cause in ("ends", "shared"))
    ages = chance.geometric(1 / output, size=(replicas, batch)).astype(float) - 1
    total = slowest = 0.0
    own, common = np.sqrt(1 - correlation), np.sqrt(correlation)
    for _ in range(steps):
        together = shared.standard_normal(replicas) * output * common if correlation else 0.0
        tokens = batch * (prompt + (1 - own) * (output - 1) + together) + own * ages.sum(axis=1)
        total += float(tokens.mean())
        slowest += float(tokens.max())
        ages += 1
        ends = chance.random(ages.shape) < 1 / output
        ages[ends] = 0
    return 1 - total / slowest
