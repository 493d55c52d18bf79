"""How many customers of a queue are simulated in a second of one core, beside SimPy's own Resource idiom.

    python benchmarks/queue_speed.py

Seconds are those of the processor, since machines are shared; they are printed beside the time of
a fixed pure-Python loop in the same run.
"""

import resource

import numpy as np
import simpy
from timing import loop, seconds

import secondorder as so
from secondorder.simulate.queues import measure, run

LOAD = 0.8


def textbook(customers: int) -> float:
    """M/M/1 as SimPy's manual writes it: a process a customer, a Resource, a draw at a time. The mean wait."""
    env, rng = simpy.Environment(), np.random.default_rng(1)
    server, waits = simpy.Resource(env), []

    def visit():
        arrived = env.now
        with server.request() as turn:
            yield turn
            waits.append(env.now - arrived)
            yield env.timeout(rng.exponential(1.0))

    def arrive():
        for _ in range(customers):
            yield env.timeout(rng.exponential(1 / LOAD))
            env.process(visit())

    env.process(arrive())
    env.run()
    return float(np.mean(waits))


def queue(rate: float = LOAD, service: str = "exponential 1 s", **options) -> so.Queue:
    return so.Queue(arrivals=f"poisson {rate} request/s", service=service, **options)


OTHERS = {
    "M/M/8, events": (queue(LOAD * 8, servers=8), 300_000, "events"),
    "M/M/8, Kiefer-Wolfowitz": (queue(LOAD * 8, servers=8), 1_000_000, "recursion"),
    "M/M/1/10, finite room": (queue(room=10), 200_000, None),
    "M/M/1-PS": (queue(discipline=so.ProcessorSharing()), 200_000, None),
    "two priorities": (queue(discipline=so.Priorities(shares=(0.5, 0.5))), 200_000, None),
    "two priorities, preemptive": (queue(discipline=so.Priorities(shares=(0.5, 0.5), preemptive=True)), 100_000, None),
    "shorter of two among 10": (queue(LOAD * 10, servers=10, routing=so.JoinShortest(d=2)), 100_000, None),
    "fork-join of 4": (queue(servers=4, routing=so.ForkJoin()), 1_000_000, None),
    "batches of at most 8": (
        so.Queue(arrivals="poisson 2 request/s", discipline=so.BatchService(per_item="0.1 s", per_batch="1 s", most=8)),
        300_000,
        None,
    ),
    "closed, 20 customers": (
        so.Queue(arrivals=so.Closed(customers=20, think="exponential 10 s"), service="exponential 1 s"),
        100_000,
        None,
    ),
    "reneging": (queue(patience=so.Patience(limit="exponential 5 s")), 50_000, None),
}


def main() -> None:
    print(f"pure-Python reference loop     {seconds(loop):8.2f} s for 10,000,000 additions")
    book = 100_000 / seconds(lambda: textbook(100_000))
    print(f"M/M/1, SimPy's Resource idiom  {book:12,.0f} customers/s")
    lean = 500_000 / seconds(lambda: run(queue(), 500_000, path="events"))
    print(f"M/M/1, events on SimPy         {lean:12,.0f} customers/s ({lean / book:.1f} times the idiom)")
    at_once = 5_000_000 / seconds(lambda: run(queue(), 5_000_000, path="recursion"))
    print(f"M/M/1, Lindley's recursion     {at_once:12,.0f} customers/s ({at_once / book:.0f} times the idiom)")
    for name, (scenario, customers, path) in OTHERS.items():
        took = seconds(lambda s=scenario, n=customers, p=path: run(s, n, path=p), repeats=2)
        print(f"{name:<30} {customers / took:12,.0f} customers/s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = measure(queue(), run(queue(), 10_000_000), 10_000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"10,000,000 customers measured (mean wait {found['wait_mean']:.3f} s, exact 4): "
        f"peak memory {after / 1024:,.0f} MB ({(after - before) / 1024:+,.0f} MB)"
    )


if __name__ == "__main__":
    main()
