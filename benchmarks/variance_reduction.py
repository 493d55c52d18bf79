"""How many times fewer customers variance reduction takes, and what intervals inside one run are worth.

    python benchmarks/variance_reduction.py

Factors are variance without over variance with, of the mean wait and of its p99, estimated from
400 replications of 300 relaxation times each.
"""

import numpy as np

from secondorder.analytic.queues import multiserver
from secondorder.analytic.queues.run_length import relaxation_time
from secondorder.laws import Erlang, LogNormal
from secondorder.simulate.queues.recursions import lindley
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.run_length import recommended_length
from secondorder.simulate.streams import stream
from secondorder.validation.coverage import Coverage
from secondorder.validation.variance_reduction import controlled, exponential_twin, paired_difference

REPLICATIONS = 400


def waits(gaps, services):
    arrival = np.cumsum(gaps)
    return lindley(arrival, services) - arrival


def figures(rho, law, replication):
    """Mean and p99 wait, those of M/M/1 on the same draws, of a 2 % slower server; and the realised moments."""
    plan = recommended_length(relaxation=rho * relaxation_time(arrival_rate=rho, service_rate=1.0), quantile=None)
    chance = [stream(1, replication, cause) for cause in ("arrivals", "service", "twin")]
    gaps, services = chance[0].exponential(1 / rho, plan.customers), law.sample(plan.customers, chance[1])
    twin = exponential_twin(services, 1.0, chance[2])
    kept = slice(plan.warm_up, None)
    runs = [waits(gaps, each)[kept] for each in (services, twin, 1.02 * services)]
    quantiles = [np.quantile(run, 0.99) for run in runs[:2]]
    return [
        *(run.mean() for run in runs),
        *quantiles,
        *(each[kept].mean() for each in (gaps, services, services**2, twin)),
    ]


def reductions(rho, law):
    found = np.array([figures(rho, law, replication) for replication in range(REPLICATIONS)])
    wait, markov, slower, p99, markov_p99, *means = found.T
    known = [1 / rho, 1.0, law.moment(2), 1.0]
    exact = multiserver.mean_wait(arrival_rate=rho, service_rate=1.0)
    tail = multiserver.wait_quantile(0.99, arrival_rate=rho, service_rate=1.0)
    return (
        paired_difference(slower, wait),
        controlled(wait, np.column_stack(means[:3]), known[:3]),
        controlled(wait, np.column_stack([markov, *means]), [exact, *known]),
        controlled(p99, np.column_stack([markov_p99, *means]), [tail, *known]),
    )


def print_reductions():
    print("variance of the mean wait in M/G/1, without over with (bars: common random numbers 10, control 4)")
    print(f"{'service':26} {'rho':>4} {'2 % slower, common':>19} {'realised moments':>17} {'and M/M/1':>10} {'p99':>6}")
    for law in (Erlang("1 s", stages=2), Erlang("1 s", stages=4), LogNormal("1 s", scv=4)):
        for rho in (0.5, 0.8):
            common, plain, twin, tail = (each.factor for each in reductions(rho, law))
            print(f"{law!s:26} {rho:4} {common:19.0f} {plain:17.1f} {twin:10.1f} {tail:6.1f}", flush=True)


def print_coverage(runs=200, customers=40_000):
    """Of nominal 95 % intervals of the p99 wait of M/M/1."""
    print("\ncoverage of 95 % intervals of the p99 wait in M/M/1: order statistics inside a run, against replications")
    middle, half = 0.99 * customers, 1.96 * np.sqrt(customers * 0.99 * 0.01)
    low, high = int(middle - half), int(middle + half) + 1
    for rho in (0.5, 0.8):
        truth = multiserver.wait_quantile(0.99, arrival_rate=rho, service_rate=1.0)
        plan = recommended_length(relaxation=rho * relaxation_time(arrival_rate=rho, service_rate=1.0))
        inside = outside = 0
        for seed in range(runs):
            ordered = np.sort(one_run(rho, seed, 0, customers + 10_000)[10_000:])
            inside += bool(ordered[low] <= truth <= ordered[high])
            found = [np.quantile(one_run(rho, seed, k, plan.customers)[plan.warm_up :], 0.99) for k in range(10)]
            interval = student(found)
            outside += bool(interval.low <= truth <= interval.high)
        print(f"rho {rho}: {Coverage(inside, runs)} inside; {Coverage(outside, runs)} of 10 replications", flush=True)


def one_run(rho, seed, replication, customers):
    gaps = stream(seed, replication, "arrivals").exponential(1 / rho, customers)
    return waits(gaps, stream(seed, replication, "service").exponential(1.0, customers))


if __name__ == "__main__":
    print_reductions()
    print_coverage()
