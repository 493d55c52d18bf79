"""How fast collectives and pipelines are simulated: messages on SimPy beside the recursion over whole arrays.

    python benchmarks/collective_speed.py

Seconds are those of the processor, the least of several, since machines are shared.
"""

import numpy as np
from timing import seconds

import secondorder as so
from secondorder.analytic.collectives import last_passage
from secondorder.fleets.clusters import Link
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.simulate.collectives import events, hops, pipeline, recursion, stages
from secondorder.simulate.streams import stream

LINK = Link(bandwidth="50 GB/s", latency="5 us")


def collectives() -> None:
    for algorithm in ("ring", "tree", "recursive_doubling", "halving_doubling"):
        scenario = Collective(algorithm=algorithm, ranks=64, size="1 GB", link=LINK, jitter="lognormal scv=0.04")
        one = np.array(list(hops.draw(scenario, 1, stream(1, 0, "hops"))))[..., 0]
        count = sum(sender != rank for stage in scenario.stages for rank, sender in enumerate(stage.senders))
        took = seconds(lambda s=scenario, x=one: events.ends(s, x))
        print(f"{algorithm:<20} 64 ranks, 1 GB, on SimPy    {took * 1e3:8.2f} ms for {count:,} hops")
    ring = Collective(ranks=64, size="1 GB", link=LINK, jitter="lognormal scv=0.04")
    took = seconds(lambda: recursion.ends(ring, hops.draw(ring, 200, stream(1, 0, "hops"))))
    print(f"ring                 64 ranks, by the recursion  {took / 200 * 1e3:8.2f} ms each, 200 at once, with draws")
    took = seconds(lambda: so.simulate(ring, seed=1), repeats=1)
    print(f"ring                 an answer with intervals    {took:8.2f} s")


def pipelines() -> None:
    rng = np.random.default_rng(1)
    forward, backward = rng.exponential(size=(2, 8, 32))
    took = seconds(lambda: stages.passes(forward, backward))
    print(f"1f1b, 8 x 32         a step on SimPy             {took * 1e3:8.2f} ms for {2 * 8 * 32:,} passes")
    many = rng.exponential(size=(1000, 8, 32))
    took = seconds(lambda: pipeline.makespan(many, backward))
    print(f"1f1b, 8 x 32         by the recursion            {took:8.3f} ms each, 1,000 at once")
    scenario = Pipeline(stages=8, microbatches=32, forward="10 ms", backward="20 ms", jitter="lognormal scv=0.09")
    took = seconds(lambda: so.simulate(scenario, seed=1), repeats=1)
    print(f"1f1b, 8 x 32         an answer with intervals    {took:8.2f} s")
    took = seconds(lambda: last_passage.exponential_mean(stages=64, microbatches=1024))
    print(f"forward, 64 x 1,024  exact mean, exponential     {took:8.2f} s")


if __name__ == "__main__":
    collectives()
    pipelines()
