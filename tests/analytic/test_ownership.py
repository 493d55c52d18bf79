"""What a fleet costs: by hand, at the break-even points, and under a simulated day."""

import math
from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.analytic.ownership import (
    break_even_horizon,
    break_even_utilisation,
    cost_per_request,
    pointwise_mean_wait,
    pointwise_prob_wait,
    pointwise_wait_quantile,
    pointwise_wait_tail,
    relaxation_time,
    replicas_for_objective,
    solve_ownership,
)
from secondorder.analytic.remember import itself, remembered
from secondorder.errors import InputError, Unstable
from secondorder.fleets.accelerators import accelerators
from secondorder.fleets.prices import prices
from secondorder.quantities import si
from secondorder.scenarios.ownership import Ownership
from secondorder.simulate.ownership import arrivals, measure, plan, serve, simulate_ownership
from secondorder.simulate.statistics.intervals import student

HOUR = 3600.0
YEARS_3 = 3 * 8760


def fleet(**changes):
    options = {
        "accelerator": accelerators.h100_sxm,
        "accelerators": 64,
        "purchase": prices.buy_h100_server.purchase,
        "server_overhead": 1.0,
        "power_overhead": 1.0,
        "pue": 1.12,
        "electricity_price": "0.12 USD/kWh",
        "maintenance": 0.05,
        "service_life": "4 year",
        "horizon": f"{YEARS_3} hour",
        "utilisation": 1.0,
        **changes,
    }
    return Ownership(**options)


def daily(**changes):
    """24 replicas of one H100 under a day that swings by 60 %."""
    load = {"utilisation": None, "rate": "1 request/s", "profile": "sinusoid swing=0.6", "service": "exponential 10 s"}
    return fleet(**{"accelerators": 24, **load, **changes})


def best(scenario, metric):
    return solve_ownership(scenario).best(metric).amount


# By hand, and the reference


def test_energy_of_64_h100_for_three_years_is_158_000_dollars_and_not_1_2_million():
    """64 x 700 W x 1.12 x 26,280 h = 1.319 GWh: at $0.12 $158 k; $1.2 M would be $0.91 a kWh."""
    kwh = best(fleet(), "energy")
    assert kwh == pytest.approx(64 * 0.7 * 1.12 * YEARS_3)
    assert best(fleet(), "energy_cost") == pytest.approx(158_230, abs=10)
    assert 1.2e6 / kwh == pytest.approx(0.910, abs=0.001)
    dearest = fleet(power_overhead=10.2 / 5.6, pue=1.56)  # a whole DGX H100 of 10.2 kW, at the average site surveyed
    assert best(dearest, "energy_cost") < 0.42e6 < 1.2e6


def test_a_fleet_computed_by_hand():
    """64 x 33,600 = 2,150,400; three of four years; 5 % of it a year; a year has 8,766 h here."""
    costs = fleet(horizon="3 year").costs(64, 64)
    assert costs.capital == pytest.approx(2_150_400 * 3 / 4)
    assert costs.maintenance == pytest.approx(2_150_400 * 0.15)
    assert costs.energy == pytest.approx(64 * 0.7 * 1.12 * 3 * 8766 * 0.12)
    assert fleet(horizon="3 year", residual=0.2).costs(64, 64).capital == pytest.approx(2_150_400 * 0.8 * 3 / 4)
    half = fleet(utilisation=0.5)
    assert half.costs(half.on, half.busy).energy / fleet().costs(64, 64).energy == pytest.approx(0.65)


def test_shares_add_up_and_horizons_too():
    answer = solve_ownership(fleet(utilisation=0.4))
    parts = sum(answer.best(part).amount for part in ("capital", "energy_cost", "maintenance"))
    assert answer.best("total_cost").amount == pytest.approx(parts)
    assert answer.best("cost_per_hour").amount == pytest.approx(parts / YEARS_3)
    one, two, three = (best(fleet(horizon=f"{h} hour"), "total_cost") for h in (1000, 2000, 3000))
    assert one + two == pytest.approx(three)


def test_a_request_costs_what_the_load_leaves_it_and_not_what_full_work_would():
    """24 slots of 10 s take 2.4 request/s; 1 comes: 2.4 times the capital of each."""
    full, real = (rung.amount for rung in solve_ownership(daily())["cost_per_request"])
    costs = daily().costs(24, 10)
    assert real == pytest.approx(costs.total / (YEARS_3 * HOUR))
    assert 2.2 < real / full < 2.4
    assert best(daily(tokens_per_request=500), "cost_per_token") == pytest.approx(real / 500)


def test_a_missing_price_is_an_error_that_names_it():
    with pytest.raises(InputError, match="purchase: got none, expected a price"):
        fleet(purchase=prices.aws_p5.purchase)
    with pytest.raises(InputError, match="electricity_price: got none"):
        fleet(electricity_price=None)
    with pytest.raises(TypeError, match="purchase"):
        Ownership(accelerator=accelerators.h100_sxm, accelerators=1)


# Renting


def test_at_the_break_even_utilisation_owning_and_renting_cost_the_same():
    scenario = fleet(utilisation=0.5, rental=prices.runpod_h100.rental)
    share = best(scenario, "break_even_utilisation")
    there = replace(scenario, utilisation=share)
    assert there.costs(there.on, there.busy).total == pytest.approx(64 * share * 3.29 * YEARS_3)
    assert 0.3 < share < 0.4


def test_at_the_break_even_horizon_purchase_and_running_are_what_was_paid_in_rent():
    scenario = fleet(utilisation=0.5, rental="3.29 USD/hour", service_life="20 year")
    after = best(scenario, "break_even_horizon")
    there = replace(scenario, horizon=f"{after} s")
    costs = there.costs(there.on, there.busy)
    assert there.outlay + costs.energy + costs.maintenance == pytest.approx(32 * 3.29 * after / HOUR)


def test_where_owning_never_pays_no_break_even_is_told():
    answer = solve_ownership(fleet(utilisation=0.5, rental="0.5 USD/hour"))
    assert not {"break_even_utilisation", "break_even_horizon"} & set(answer)
    assert "renting by the hour of use is cheaper at any utilisation" in answer.how
    assert break_even_utilisation(fixed=1.0, proportional=2.0, rental=1.0) == math.inf
    assert break_even_horizon(outlay=1.0, running=2.0, rental=1.0) == math.inf


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    fixed=st.floats(0.01, 5),
    proportional=(st.just(0.0) | st.floats(1e-9, 5)),
    margin=st.floats(0.01, 5),
    more=st.floats(0.001, 0.5),
)
def test_above_the_break_even_owning_is_cheaper(fixed, proportional, margin, more):
    share = break_even_utilisation(fixed=fixed, proportional=proportional, rental=proportional + margin)
    own, rent = fixed + proportional * (share + more), (proportional + margin) * (share + more)
    assert own < rent


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    u=(st.just(0.0) | st.floats(1e-9, 0.9)),
    more=st.floats(0.01, 0.1),
    field=st.sampled_from(["utilisation", "pue", "maintenance", "server_overhead", "power_overhead"]),
)
def test_more_of_anything_costs_more(u, more, field):
    scenario = fleet(utilisation=u)
    dearer = replace(scenario, **{field: getattr(scenario, field) + more})
    assert best(dearer, "total_cost") > best(scenario, "total_cost")


@settings(derandomize=True, max_examples=30, deadline=None)
@given(rate=st.floats(0.1, 1.0), more=st.floats(0.01, 0.2))
def test_a_busier_fleet_s_requests_are_cheaper(rate, more):
    one, other = (best(daily(rate=f"{x} request/s"), "cost_per_request") for x in (rate, rate + more))
    assert other < one


# The pointwise stationary approximation


def erlang_c(load, servers):
    """By the sum, not the recursion."""
    last = load**servers / math.factorial(servers) / (1 - load / servers)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


RATES, SERVERS = np.array([0.3, 1.1, 2.0]), np.array([1, 2, 4])


def test_the_mean_over_the_day_is_weighted_by_arrivals():
    waits = np.array([erlang_c(rate, int(c)) for rate, c in zip(RATES, SERVERS, strict=True)])
    weighted, plain = waits @ RATES / RATES.sum(), waits.mean()
    found = pointwise_prob_wait(arrival_rates=RATES, service_rate=1.0, servers=SERVERS)
    assert found == pytest.approx(weighted)
    assert found != pytest.approx(plain, rel=0.05)
    means = waits / (SERVERS - RATES)
    assert pointwise_mean_wait(arrival_rates=RATES, service_rate=1.0, servers=SERVERS) == pytest.approx(
        means @ RATES / RATES.sum()
    )


def test_the_quantile_is_the_root_of_the_tail_and_no_mean_of_quantiles():
    queue = {"arrival_rates": RATES, "service_rate": 1.0, "servers": SERVERS}
    t = pointwise_wait_quantile(0.99, **queue)
    assert pointwise_wait_tail(t, **queue) == pytest.approx(0.01, rel=1e-9)
    each = [
        pointwise_wait_quantile(0.99, arrival_rates=[r], service_rate=1.0, servers=[c])
        for r, c in zip(RATES, SERVERS, strict=True)
    ]
    assert t != pytest.approx(np.mean(each), rel=0.05)
    assert min(each) < t < max(each)


def test_hours_without_arrivals_do_not_count():
    found = pointwise_prob_wait(arrival_rates=[0.0, 0.5], service_rate=1.0, servers=[1, 1])
    assert found == pytest.approx(0.5)


def test_relaxation_and_staffing_are_the_known_ones():
    assert relaxation_time(arrival_rate=0.81, service_rate=1.0, servers=1) == pytest.approx(1 / (1 - 0.9) ** 2)
    least = next(c for c in range(9, 40) if erlang_c(8, c) * math.exp(-(c - 8) * 0.5) <= 0.01)
    assert replicas_for_objective(arrival_rate=8.0, service_rate=1.0, wait=0.5) == least == 13
    assert replicas_for_objective(arrival_rate=8.0, service_rate=1.0, wait=0.5, slots=4) == 4


# The simulated queue against SimPy


def by_events(arrival, service, slots, changes, until):
    """A naive twin: tokens for idle slots, a list for the line, a count of slots that are to go."""
    env, line, start = simpy.Environment(), [], {}
    state = {"idle": slots, "doomed": 0}

    def begin():
        while state["idle"] and line:
            state["idle"] -= 1
            env.process(work(line.pop(0)))

    def work(customer):
        start[customer] = env.now
        yield env.timeout(service[customer])
        if state["doomed"]:
            state["doomed"] -= 1
        else:
            state["idle"] += 1
            begin()

    def come():
        for customer, when in enumerate(arrival):
            yield env.timeout(when - env.now)
            line.append(customer)
            begin()

    def change():
        for when, more in changes:
            if when > until:
                return
            yield env.timeout(when - env.now)
            gone = min(max(-more, 0), state["idle"])
            state["idle"] += max(more, 0) - gone
            state["doomed"] += max(-more, 0) - gone
            begin()

    env.process(come())
    env.process(change())
    env.run()
    return np.array([start[customer] for customer in range(len(arrival))])


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_slots_that_come_and_go_serve_as_in_simpy(seed, counts):
    rng = np.random.default_rng(seed)
    arrival, service = np.sort(rng.uniform(0, 30, 80)), rng.exponential(1.5, 80)
    when = np.sort(rng.uniform(0, 30, len(counts) - 1))
    changes = [(float(t), int(d)) for t, d in zip(when, np.diff(counts), strict=True) if d]
    twin = by_events(arrival, service, counts[0], changes, 1e9)
    found = serve(arrival, service, counts[0], iter(changes)).start
    assert found == pytest.approx(twin, abs=1e-9)


def test_a_busy_slot_that_must_go_finishes_what_it_does():
    run = serve(np.array([0.0, 0.5, 6.0]), np.array([5.0, 9.0, 1.0]), 2, iter([(1.0, -1)]))
    assert run.start.tolist() == [0.0, 0.5, 9.5]
    assert run.overruns == [(1.0, 4.0)]


def test_replicas_follow_the_load_with_a_boot():
    scenario = daily(profile=[0.5, 1.5], rate="1 request/s", target_utilisation=0.75, boot="10 min")
    assert scenario.hourly_replicas.tolist() == [7, 20]  # 5/.75 and 15/.75
    slots, changes = plan(scenario)
    assert slots == 7
    assert [next(changes) for _ in range(3)] == [(HOUR + 600, 13), (2 * HOUR, -13), (3 * HOUR + 600, 13)]
    assert scenario.on == 13.5
    assert scenario.busy == 10


def test_arrivals_are_poisson_with_the_rate_of_the_hour():
    scenario = daily(profile=[0.5, 1.5])
    times = arrivals(scenario, 400, np.random.default_rng(1))
    per_hour = np.bincount((times // HOUR).astype(int), minlength=400).reshape(-1, 2)
    for column, mean in zip(per_hour.T, (1800, 5400), strict=True):
        assert abs(column.mean() - mean) < 4 * math.sqrt(mean / 200)
        assert 0.7 < column.var() / mean < 1.35  # chi-squared of 199: 4 sigma
    assert (np.diff(times) >= 0).all()


# Simulation against the closed forms


@remembered(itself)
def measured(asked):
    """The runs of a scenario, once for all tests that ask for them."""
    scenario, replications = asked
    return [measure(scenario, seed=2, replication=r) for r in range(replications)]


def simulated(scenario, metrics, replications=12):
    """99.9 % intervals."""
    found = measured((scenario, replications))
    return {metric: student([each[metric] for each in found], 0.999) for metric in metrics}


def test_a_steady_load_is_an_mmc_queue():
    steady = daily(profile="flat", rate="2 request/s", service="exponential 2 s", accelerators=5)
    intervals = simulated(steady, ("prob_wait", "wait_mean", "wait_p99", "utilisation"))
    truth = erlang_c(4, 5)
    expected = {
        "prob_wait": truth,
        "wait_mean": truth / 0.5,
        "wait_p99": math.log(truth / 0.01) / 0.5,
        "utilisation": 0.8,
    }
    for metric, interval in intervals.items():
        assert interval.relative_half_width < 0.12
        assert interval.low <= expected[metric] <= interval.high, metric
        assert best(steady, metric) == pytest.approx(expected[metric]), metric


SLOW = daily(
    accelerators=10,
    rate="2 request/s",
    service="exponential 2.5 s",
    profile="sinusoid swing=0.5",
    wait_objective="1 s",
    rental="3.29 USD/hour",
    tokens_per_request=300,
)


def test_under_a_slow_day_the_pointwise_form_holds_and_the_mean_load_does_not():
    metrics = ("prob_wait", "wait_mean", "wait_p99", "within_objective", "cost_per_request_within")
    answer = solve_ownership(SLOW)
    for metric, interval in simulated(SLOW, metrics).items():
        steady, pointwise = answer[metric]
        assert pointwise.in_domain
        assert not steady.in_domain
        assert interval.low <= pointwise.amount <= interval.high, metric
        assert not interval.low <= steady.amount <= interval.high, metric


def test_costs_under_a_day_are_those_of_the_mean_load():
    metrics = ("energy", "total_cost", "utilisation", "cost_per_request", "rental_per_request", "cost_per_token")
    for metric, interval in simulated(SLOW, metrics).items():
        assert interval.low <= best(SLOW, metric) <= interval.high, metric


FOLLOWING = daily(target_utilisation=0.8, boot="10 min", wait_objective="5 s", rental="3.29 USD/hour")


def test_a_boot_breaks_the_pointwise_form_which_says_so():
    rung = solve_ownership(FOLLOWING).best("wait_mean")
    assert not rung.in_domain
    assert "boot" in rung.remark
    assert simulated(FOLLOWING, ("wait_mean",))["wait_mean"].low > rung.amount
    at_once = replace(FOLLOWING, boot="0 s")
    slower = simulated(replace(FOLLOWING, boot="30 min"), ("wait_mean",))["wait_mean"]
    assert slower.low > simulated(at_once, ("wait_mean",))["wait_mean"].high


def test_a_following_fleet_is_cheaper_to_rent_and_keeps_the_objective_less_often():
    peak = replace(FOLLOWING, target_utilisation=None, boot=None, accelerators=20)  # 1.59 x 10 s / .8
    metrics = ("rental_per_request", "within_objective", "utilisation")
    always, following = simulated(peak, metrics), simulated(FOLLOWING, metrics)
    assert following["rental_per_request"].high < 0.75 * always["rental_per_request"].low
    assert following["within_objective"].high < always["within_objective"].low
    assert following["utilisation"].low > always["utilisation"].high


def test_where_the_peak_exceeds_the_fleet_only_the_simulation_answers():
    crowded = daily(accelerators=14)
    answer = solve_ownership(crowded)
    assert "the load exceeds what is on in 6 of 24 hours" in answer.how
    assert [rung.order for rung in answer["wait_p99"]] == [1]
    assert simulated(crowded, ("wait_p99",), replications=5)["wait_p99"].low > 100 * answer.best("wait_p99").amount


def test_other_services_are_outside_erlang_s_domain():
    constant = replace(SLOW, service="10 s", rate="0.5 request/s")
    rungs = solve_ownership(constant)["wait_mean"]
    assert all("exponential service" in rung.remark for rung in rungs)
    assert simulated(constant, ("wait_mean",))["wait_mean"].high < rungs[-1].amount
    uneven = daily(service="10 s", accelerators=14)  # a load that is not steady is told beside it
    assert "steady" in solve_ownership(uneven).best("wait_mean").remark


def test_the_same_seed_gives_the_same_answer_and_processes_do_not_matter():
    one = simulate_ownership(SLOW, seed=3, replications=2)
    assert one == simulate_ownership(SLOW, seed=3, replications=2, jobs=2)
    assert one != simulate_ownership(SLOW, seed=4, replications=2)


# Refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"utilisation": None}, "utilisation: got neither"),
        ({"rate": "1 request/s", "service": "1 s"}, "utilisation: got both"),
        ({"utilisation": 1.1}, "utilisation"),
        ({"service": "1 s"}, "rate: got none"),
        ({"wait_objective": "1 s"}, "rate: got none"),
        ({"pue": 0.9}, "pue"),
        ({"server_overhead": 0.5}, "server_overhead"),
        ({"maintenance": -0.1}, "maintenance"),
        ({"residual": 1.5}, "residual"),
        ({"service_life": "0 s"}, "service_life"),
        ({"horizon": "0 s"}, "horizon"),
        ({"purchase": "0 USD"}, "purchase"),
        ({"purchase": 33600}, "purchase"),
        ({"electricity_price": "0.1 USD"}, "electricity_price"),
        ({"accelerators_per_replica": 7}, "accelerators"),
        ({"accelerator": accelerators.tpu_v6e}, "power of Google TPU v6e"),
    ],
)
def test_wrong_inputs_are_refused_by_name(changes, said):
    with pytest.raises(InputError, match=said):
        fleet(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"service": None}, "service: got none"),
        ({"boot": "1 min"}, "target_utilisation: got none"),
        ({"target_utilisation": 0.7}, "boot: got none"),
        ({"target_utilisation": 0.7, "boot": "2 hour"}, "boot"),
        ({"target_utilisation": 1.7, "boot": "1 min"}, "target_utilisation"),
        ({"profile": "square"}, "profile"),
        ({"tokens_per_request": 0}, "tokens_per_request"),
    ],
)
def test_wrong_loads_are_refused_by_name(changes, said):
    with pytest.raises(InputError, match=said):
        daily(**changes)


@pytest.mark.parametrize("solve", [solve_ownership, simulate_ownership])
def test_a_load_past_the_fleet_is_refused(solve):
    with pytest.raises(Unstable, match="use at least 11 replicas"):
        solve(daily(accelerators=10))


def test_a_fleet_that_follows_the_load_too_closely_is_told_so_and_not_to_grow():
    with pytest.raises(Unstable, match="use a lower target_utilisation") as refused:
        solve_ownership(daily(profile="flat", target_utilisation=1.0, boot="0 s"))
    assert "replicas" not in str(refused.value)


def test_a_fleet_without_a_load_is_not_simulated():
    with pytest.raises(InputError, match="rate: got none"):
        simulate_ownership(fleet())
    with pytest.raises(InputError, match="replications"):
        simulate_ownership(SLOW, replications=0)
    with pytest.raises(InputError, match="arrival_rates"):
        pointwise_prob_wait(arrival_rates=[0.0], service_rate=1.0, servers=[1])
    with pytest.raises(Unstable):
        pointwise_prob_wait(arrival_rates=[2.0], service_rate=1.0, servers=[1])
    with pytest.raises(InputError, match="p: got 1"):
        pointwise_wait_quantile(1.0, arrival_rates=[0.5], service_rate=1.0, servers=[1])
    with pytest.raises(InputError, match="slots left"):
        serve(np.array([0.0, 2.0]), np.array([1.0, 1.0]), 1, iter([(1.5, -1)]))
    assert cost_per_request(cost_rate=1.0, arrival_rate=np.array([1.0, 2.0])).tolist() == [1.0, 0.5]
    assert si(daily().rate) == 1.0
