"""Which witness answers, and that both say the same."""

import numpy as np
import pytest

import secondorder as so
from secondorder.errors import InputError
from secondorder.scenarios.queue import ProcessorSharing, Queue
from secondorder.simulate.queues.run import COMPILED_FROM, run

SERVICE = so.Serving(
    model=so.models.llama_3_1_8b,
    accelerator=so.accelerators.h100_sxm,
    arrivals=so.Poisson("8 request/s"),
    lengths=so.lengths.azure_conv_2023,
)


def test_both_witnesses_give_the_same_estimates_and_say_who_they_are() -> None:
    kernel, events = (so.simulate(SERVICE, seed=1, requests=600, replications=3, witness=w) for w in (None, "events"))
    assert kernel.how.replace("by the compiled kernel", "by events on SimPy") == events.how
    assert kernel.how != events.how
    assert kernel.estimates == events.estimates
    assert kernel.requests.equals(events.requests)
    assert kernel.series.equals(events.series)


def test_what_has_no_kernel_runs_on_events_and_refuses_a_kernel() -> None:
    cluster = so.SharedCluster(
        accelerators=4, sizes=4, arrivals="0.5 job/day", duration="exponential 1 day", policy="fcfs"
    )
    assert so.simulate(cluster, replications=2, witness="events").estimates
    with pytest.raises(InputError, match="kernel for SharedCluster"):
        so.simulate(cluster, witness="kernel")


def test_an_unknown_witness_is_refused() -> None:
    with pytest.raises(InputError, match="'fast'"):
        so.simulate(SERVICE, witness="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "queue",
    [
        Queue(arrivals="poisson 24 request/s", service="exponential 100 ms", servers=3),
        Queue(arrivals="poisson 8 request/s", service="exponential 100 ms", discipline=ProcessorSharing()),
        Queue(arrivals="poisson 8 request/s", service="exponential 100 ms", discipline=ProcessorSharing(), room=4),
    ],
    ids=["first come", "sharing", "sharing with a room"],
)
def test_long_runs_of_queues_are_compiled_and_the_same(queue: Queue) -> None:
    compiled, other = run(queue, COMPILED_FROM), run(queue, COMPILED_FROM, path="events")
    for name in ("start", "finish", "gone"):
        assert np.array_equal(getattr(compiled, name), getattr(other, name), equal_nan=True)
