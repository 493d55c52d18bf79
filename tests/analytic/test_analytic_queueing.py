"""The queueing closed forms against witnesses that share no code with them.

Dense generators of truncated Markov chains, mpmath at many digits, quadrature, lattice
recursions, and the identities that tie one model to another.
"""

import math
from functools import partial

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, sparse, stats
from scipy.linalg import expm
from scipy.sparse.linalg import spsolve

from secondorder.analytic import affine_replica
from secondorder.analytic.queues import (
    batch_service,
    closed_network,
    erlang,
    fork_join,
    generalised_processor_sharing,
    infinite_server,
    join_shortest_queue,
    markov_modulated,
    multiserver,
    multiserver_deterministic,
    multiserver_finite,
    multiserver_general,
    network_analyser,
    priority,
    processor_sharing,
    run_length,
    setup_time,
    single_server,
    single_server_general,
    single_server_hyperexponential,
    single_server_phase_type,
    single_server_renewal,
    staffing,
    transform_inversion,
)
from secondorder.errors import InfeasibleError, InputError, Unstable
from secondorder.laws import (
    Deterministic,
    EmpiricalLaw,
    Erlang,
    Exponential,
    Gamma,
    Hyperexponential,
    LogNormal,
    Pareto,
    Weibull,
)
from secondorder.workloads.arrivals import MarkovModulated

close = partial(pytest.approx, rel=1e-9)
quick = settings(max_examples=40, deadline=None)
loads = st.floats(0.05, 0.95)


# Witnesses


def stationary(moves):
    """The law of a chain with these rates ``{(from, to): rate}``, by a sparse direct solve."""
    states = sorted({state for pair in moves for state in pair})
    at = {state: i for i, state in enumerate(states)}
    rows, columns, rates = zip(*((at[i], at[j], rate) for (i, j), rate in moves.items()), strict=True)
    n = len(states)
    q = sparse.coo_matrix((rates, (rows, columns)), (n, n)).tolil()
    q.setdiag(q.diagonal() - np.asarray(q.sum(axis=1)).ravel())
    balance = q.T.tolil()
    balance[0, :] = 1
    return dict(zip(states, spsolve(balance.tocsc(), np.eye(n)[0]), strict=True))


def expect(law, value):
    return sum(value(state) * weight for state, weight in law.items())


def birth_death(rate, mu, servers, top):
    moves = {(n, n + 1): rate for n in range(top)}
    moves.update({(n + 1, n): min(n + 1, servers) * mu for n in range(top)})
    return stationary(moves)


def mean_from_tail(tail, scale):
    """The mean of a time is the integral of its tail."""
    pieces = ((0, 1), (1, 8), (8, 80))
    return sum(integrate.quad(tail, a * scale, b * scale, epsrel=1e-10, limit=400)[0] for a, b in pieces)


def lattice_wait_tail(rho, residual_cdf, step, levels):
    """P(wait > k step) of M/G/1 as a geometric sum of residual services, rounded to a lattice at their middles."""
    cells = np.diff(residual_cdf(np.maximum((np.arange(levels + 1) - 0.5) * step, 0)))
    law = np.zeros(levels)
    law[0] = (1 - rho) / (1 - rho * cells[0])
    for k in range(1, levels):
        law[k] = rho * (cells[1 : k + 1] @ law[k - 1 :: -1]) / (1 - rho * cells[0])
    return 1 - np.cumsum(law)


# Erlang and M/M/c


@pytest.mark.parametrize(("load", "servers"), [(0.01, 1), (8.0, 10), (95.0, 100), (1900.0, 2000), (300.0, 250)])
def test_erlang_b_is_its_definition_in_60_digits(load, servers):
    with mpmath.workdps(60):
        a = mpmath.mpf(load)
        terms = [mpmath.mpf(1)]
        for k in range(1, servers + 1):
            terms.append(terms[-1] * a / k)
        expected = float(terms[-1] / sum(terms))
    assert erlang.erlang_b(load, servers) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("rate", "servers"), [(0.7, 1), (1.7, 2), (6.0, 8), (14.0, 16)])
def test_mmc_is_the_stationary_birth_death_process(rate, servers):
    law = birth_death(rate, 1.0, servers, 600)
    queue = {"arrival_rate": rate, "service_rate": 1.0, "servers": servers}
    assert multiserver.prob_wait(**queue) == close(expect(law, lambda n: n >= servers))
    assert multiserver.mean_wait(**queue) == close(expect(law, lambda n: max(n - servers, 0)) / rate)
    assert multiserver.mean_response(**queue) == close(expect(law, lambda n: n) / rate)


@pytest.mark.parametrize(("rate", "servers"), [(0.5, 1), (1.0, 2), (1.0001, 2), (7.0, 8), (7.0000001, 8), (15.0, 16)])
def test_the_mmc_response_is_the_wait_and_a_service(rate, servers):
    queue = {"arrival_rate": rate, "service_rate": 1.0, "servers": servers}
    for t in (0.3, 2.0, 9.0):
        served = integrate.quad(
            lambda s, t=t: math.exp(-s) * multiserver.wait_tail(t - s, **queue), 0, t, epsrel=1e-12
        )[0]
        assert multiserver.response_tail(t, **queue) == pytest.approx(served + math.exp(-t), rel=1e-10)


def test_the_p99_of_a_sum_is_not_the_p99_of_the_wait_plus_the_mean_service():
    queue = {"arrival_rate": 800.0, "service_rate": 100.0, "servers": 16}  # 10 ms services, rho .5
    assert multiserver.wait_quantile(0.99, **queue) + 0.01 == pytest.approx(0.010, abs=5e-4)
    assert multiserver.response_quantile(0.99, **queue) == pytest.approx(0.0459, abs=5e-4)


@quick
@given(loads, st.integers(1, 40), st.floats(0.01, 100), st.floats(0.5, 0.9999))
def test_mmc_quantiles_invert_the_tails(rho, servers, mu, p):
    queue = {"arrival_rate": rho * servers * mu, "service_rate": mu, "servers": servers}
    assert multiserver.response_tail(multiserver.response_quantile(p, **queue), **queue) == pytest.approx(
        1 - p, rel=1e-9
    )
    wait = multiserver.wait_quantile(p, **queue)
    assert multiserver.wait_tail(wait, **queue) == pytest.approx(
        1 - p if wait > 0 else multiserver.prob_wait(**queue), rel=1e-9
    )


@quick
@given(loads, st.integers(1, 30), st.floats(0.001, 0.04))
def test_mmc_grows_with_the_load_and_falls_with_the_servers(rho, servers, more):
    busy = rho + more
    for measure in (
        multiserver.prob_wait,
        multiserver.mean_wait,
        multiserver.mean_response,
        partial(multiserver.response_quantile, 0.99),
    ):
        at = partial(measure, service_rate=1.0)
        assert at(arrival_rate=busy * servers, servers=servers) >= at(arrival_rate=rho * servers, servers=servers)
        assert at(arrival_rate=rho * servers, servers=servers + 1) <= at(arrival_rate=rho * servers, servers=servers)


@pytest.mark.parametrize(("load", "target"), [(0.3, 0.5), (8.0, 0.01), (100.0, 0.2), (1000.0, 0.05)])
def test_the_servers_needed_are_the_least(load, target):
    c = int(erlang.servers_for_wait(load, target))
    assert erlang.erlang_c(load, c) <= target
    assert c - 1 <= load or erlang.erlang_c(load, c - 1) > target
    c = int(erlang.servers_for_blocking(load, target))
    assert erlang.erlang_b(load, c) <= target < (erlang.erlang_b(load, c - 1) if c > 1 else 1)


@pytest.mark.parametrize(("rate", "limit"), [(0.5, 8.0), (8.0, 5.0), (200.0, 4.8)])
def test_the_servers_for_a_quantile_are_the_least(rate, limit):
    queue = {"arrival_rate": rate, "service_rate": 1.0}
    c = int(staffing.servers_for_response_quantile(limit, 0.99, **queue))
    assert multiserver.response_quantile(0.99, **queue, servers=c) <= limit
    assert c - 1 <= rate or multiserver.response_quantile(0.99, **queue, servers=c - 1) > limit
    c = int(staffing.servers_for_wait_quantile(0.2, 0.99, **queue))
    assert multiserver.wait_quantile(0.99, **queue, servers=c) <= 0.2
    assert c - 1 <= rate or multiserver.wait_quantile(0.99, **queue, servers=c - 1) > 0.2


def test_no_number_of_servers_shortens_the_service():
    with pytest.raises(InfeasibleError, match=r"no number of servers is enough; ask for more than 4\.605"):
        staffing.servers_for_response_quantile(4.6, 0.99, arrival_rate=1.0, service_rate=1.0)


def test_square_root_staffing_approaches_erlang():
    for target in (0.05, 0.2, 0.5):
        beta = staffing.halfin_whitt_beta(target)
        assert staffing.halfin_whitt_prob_wait(beta) == pytest.approx(target, rel=1e-12)
        servers = 40_000 + round(beta * 200)
        assert erlang.erlang_c(40_000.0, servers) == pytest.approx(target, rel=0.02)
        assert abs(staffing.square_root_staffing(1000.0, target) - erlang.servers_for_wait(1000.0, target)) <= 1


# M/M/c/K


@pytest.mark.parametrize(("rate", "c", "room"), [(0.9, 1, 10), (3.8, 4, 20), (20.0, 8, 16), (5.0, 3, 3)])
def test_mmck_is_the_truncated_birth_death_process(rate, c, room):
    law = birth_death(rate, 1.0, c, room)
    queue = {"arrival_rate": rate, "service_rate": 1.0, "servers": c, "capacity": room}
    np.testing.assert_allclose(
        multiserver_finite.law(**queue), [law[n] for n in range(room + 1)], rtol=1e-9, atol=1e-16
    )
    waiting = expect(law, lambda n: max(n - c, 0))
    assert multiserver_finite.mean_wait(**queue) == close(waiting / (rate * (1 - law[room])), abs=1e-12)
    assert multiserver_finite.throughput(**queue) == close(expect(law, lambda n: min(n, c)))
    assert multiserver_finite.mean_response(**queue) == close(
        expect(law, lambda n: n) / multiserver_finite.throughput(**queue)
    )
    if room > c:
        assert mean_from_tail(lambda t: multiserver_finite.wait_tail(t, **queue), 1.0) == close(
            multiserver_finite.mean_wait(**queue), rel=1e-7
        )
        assert multiserver_finite.wait_tail(multiserver_finite.wait_quantile(0.99, **queue), **queue) == close(0.01)


def test_mmck_tends_to_mmc_and_to_erlang_b():
    queue = {"arrival_rate": 6.0, "service_rate": 1.0, "servers": 8}
    assert multiserver_finite.mean_wait(**queue, capacity=400) == close(multiserver.mean_wait(**queue))
    assert multiserver_finite.wait_quantile(0.99, **queue, capacity=400) == close(
        multiserver.wait_quantile(0.99, **queue)
    )
    assert multiserver_finite.blocking(**queue, capacity=8) == close(erlang.erlang_b(6.0, 8))
    assert multiserver_finite.blocking(arrival_rate=2000.0, service_rate=1.0, servers=8, capacity=3000) == close(
        1 - 8 / 2000
    )


# M/G/1


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9, 0.99])
def test_mg1_with_exponential_service_is_mm1(rho):
    queue, law = {"arrival_rate": rho / 2, "service_rate": 0.5}, Exponential("2 s")
    assert single_server.mean_wait(arrival_rate=rho / 2, mean_service=2.0, service_scv=1.0) == close(
        multiserver.mean_wait(**queue)
    )
    for p in (0.95, 0.99, 0.999):
        wait, response = (
            f(p, arrival_rate=rho / 2, service=law)
            for f in (single_server.wait_quantile, single_server.response_quantile)
        )
        assert wait == pytest.approx(multiserver.wait_quantile(p, **queue), rel=1e-6)
        assert response == pytest.approx(multiserver.response_quantile(p, **queue), rel=1e-6)


@pytest.mark.parametrize("law", [Exponential("2 s"), Erlang("2 s", 5), Hyperexponential("2 s", 16)], ids=str)
@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_inversion_and_phases_agree(law, rho):
    start, generator = law.phases()
    phases = {"arrival_rate": rho / 2, "start": start, "generator": generator}
    inverted = {"arrival_rate": rho / 2, "service": law}
    assert single_server_phase_type.mean_wait(**phases) == close(
        single_server.mean_wait(arrival_rate=rho / 2, mean_service=2.0, service_scv=law.scv)
    )
    for p in (0.8, 0.99):
        assert single_server.wait_quantile(p, **inverted) == pytest.approx(
            single_server_phase_type.wait_quantile(p, **phases), rel=1e-6
        )
        assert single_server.response_quantile(p, **inverted) == pytest.approx(
            single_server_phase_type.response_quantile(p, **phases), rel=1e-6
        )


@quick
@given(loads, st.floats(1.0, 50.0), st.floats(0.01, 10.0))
def test_partial_fractions_and_phases_agree(rho, scv, mean):
    start, generator = Hyperexponential(f"{mean!r} s", scv).phases()
    queue = {"arrival_rate": rho / mean, "mean_service": mean, "service_scv": scv}
    phases = {"arrival_rate": rho / mean, "start": start, "generator": generator}
    t = mean * np.array([0.0, 0.1, 2.0, 30.0])
    np.testing.assert_allclose(
        single_server_hyperexponential.wait_tail(t, **queue), single_server_phase_type.wait_tail(t, **phases), rtol=1e-8
    )
    np.testing.assert_allclose(
        single_server_hyperexponential.response_tail(t, **queue),
        single_server_phase_type.response_tail(t, **phases),
        rtol=1e-8,
    )


def test_the_hyperexponential_queue_is_a_chain_of_two_kinds():
    """The number in the system with the kind in service, and Little's law; the tail by its own transient."""
    law, rate, top = Hyperexponential("1 s", 4), 0.5, 500
    p, (short, long) = law.probability, law.means
    kinds, ends = (p, 1 - p), (1 / short, 1 / long)
    moves = {((0, 0), (1, k)): rate * kinds[k] for k in (0, 1)}
    for n in range(1, top):
        for k in (0, 1):
            moves[(n, k), (n + 1, k)] = rate
            for following in (0, 1) if n > 1 else (0,):
                moves[(n, k), (n - 1, following)] = ends[k] * (kinds[following] if n > 1 else 1)
    moves[(top, 0), (top - 1, 0)] = moves[(top, 1), (top - 1, 1)] = 1.0
    number = expect(stationary(moves), lambda state: state[0])
    assert single_server.mean_response(arrival_rate=rate, mean_service=1.0, service_scv=4.0) == close(
        number / rate, rel=1e-7
    )


@pytest.mark.parametrize(("rho", "level"), [(0.5, 0.99), (0.8, 0.9)])
def test_the_wait_behind_lognormal_services_is_a_geometric_sum_of_residuals(rho, level):
    """Rounding to a lattice is off by the square of its step; two steps give the limit."""
    law = LogNormal("1 s", 4)
    service = stats.lognorm(law.sigma, scale=law.median)

    def residual(t):  # E[min(S, t)] / E[S]
        return stats.norm.cdf((np.log(np.maximum(t, 1e-300) / law.median)) / law.sigma - law.sigma) + t * service.sf(t)

    t = single_server.wait_quantile(level, arrival_rate=rho, service=law)
    found = []
    for cells in (1000, 2000):
        step = t / cells
        tails = lattice_wait_tail(rho, residual, step, cells + 2)
        found.append((tails[cells - 1] + tails[cells]) / 2)  # P(wait > t) lies between the two lattice points
    assert (4 * found[1] - found[0]) / 3 == pytest.approx(1 - level, rel=1e-5)


@pytest.mark.parametrize("law", [Erlang("1 s", 3), Gamma("1 s", 2), LogNormal("1 s", 1), Weibull("1 s", 0.8)], ids=str)
def test_the_tail_has_the_moments_of_the_wait(law):
    rate = 0.6
    queue = {"arrival_rate": rate, "service": law}

    def tail(t):
        return single_server.wait_tail(t, **queue)

    end = single_server.wait_quantile(1 - 1e-7, **queue)
    t = end * np.linspace(0, 1, 601) ** 2
    tails = np.asarray(tail(t))
    left = tails[-1] * (end - t[-100]) / math.log(tails[-100] / tails[-1])  # past the end it is near exponential
    assert integrate.simpson(tails, x=t) + left == pytest.approx(
        single_server.mean_wait(arrival_rate=rate, mean_service=1.0, service_scv=law.scv), rel=2e-5
    )
    moments = {"second_moment": law.moment(2), "third_moment": law.moment(3)}
    second = single_server.wait_second_moment(arrival_rate=rate, mean_service=1.0, **moments)
    assert integrate.simpson(2 * t * tails, x=t) + 2 * end * left == pytest.approx(second, rel=2e-4)


@pytest.mark.parametrize("law", [Deterministic("1 s"), EmpiricalLaw([0.5, 1.5])], ids=["constant", "two values"])
def test_an_inversion_that_meets_a_jump_is_refused(law):
    with pytest.raises(InputError, match="for a constant service use multiserver_deterministic"):
        single_server.response_quantile(0.3, arrival_rate=0.3, service=law)


def test_an_empirical_law_is_inverted_to_the_tolerance_asked_for():
    """A constant service written as a measured one: the density of the wait jumps at 1, its far tail is smooth."""
    queue = {"arrival_rate": 0.8, "service": EmpiricalLaw([1.0])}
    exact = multiserver_deterministic.wait_tail(0.99, arrival_rate=0.8, mean_service=1.0)
    with pytest.raises(InputError, match="allow more with tolerance"):
        single_server.wait_tail(0.99, **queue)
    assert single_server.wait_tail(0.99, **queue, tolerance=1e-3) == pytest.approx(exact, rel=1e-3)
    p99 = multiserver_deterministic.wait_quantile(0.99, arrival_rate=0.8, mean_service=1.0)
    assert single_server.wait_quantile(0.99, **queue) == pytest.approx(p99, rel=1e-6)


def test_an_inversion_does_not_reach_below_its_noise():
    with pytest.raises(InputError, match="above about 1e-7"):
        single_server.wait_tail(60.0, arrival_rate=0.3, service=Exponential("1 s"))


def test_a_heavy_tail_is_reached():
    """Subexponential: P(wait > t) tends to rho/(1-rho) times the tail of the residual service."""
    law = Pareto("1 s", 2.5)
    t = 3000.0
    residual = (law.least / t) ** 1.5 / 2.5
    found = single_server.wait_tail(t, arrival_rate=0.3, service=law)
    assert found == pytest.approx(0.3 / 0.7 * residual, rel=0.01)


# M/D/c


def erlang_series(t, rate):
    """P(wait <= t) of M/D/1, D = 1, by the alternating series at 120 digits."""
    with mpmath.workdps(120):
        lam, time = mpmath.mpf(rate), mpmath.mpf(t)
        terms = [
            (-lam * (time - k)) ** k / mpmath.factorial(k) * mpmath.exp(lam * (time - k))
            for k in range(math.floor(t) + 1)
        ]
        return float((1 - lam) * sum(terms))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("t", [0.0, 0.4, 1.0, 2.5, 17.3])
def test_md1_is_the_series_of_erlang(rate, t):
    assert multiserver_deterministic.wait_tail(t, arrival_rate=rate, mean_service=1.0) == pytest.approx(
        1 - erlang_series(t, rate), rel=1e-10, abs=1e-15
    )


@pytest.mark.parametrize("rho", [1e-4, 0.3, 0.8, 0.99, 0.999])
def test_md1_has_the_mean_of_pollaczek_and_khinchine(rho):
    assert multiserver_deterministic.mean_wait(arrival_rate=rho / 3, mean_service=3.0) == pytest.approx(
        single_server.mean_wait(arrival_rate=rho / 3, mean_service=3.0, service_scv=0.0), rel=1e-9
    )


@pytest.mark.parametrize(
    ("c", "rho"), [(1, 0.7), (2, 0.8), (3, 0.9), (5, 0.2), (20, 0.9), (64, 0.5), (64, 0.2), (800, 0.94)]
)
def test_mdc_has_the_mean_of_spitzer(c, rho):
    """The number waiting at spacing D is a random walk cut at 0: its mean is ``sum_n E[S_n^+] / n``.

    At a load of 752 the empty system has a probability below the least double.
    """
    load, n = c * rho, np.arange(1, 4000)
    mean, least = n * load, n * c
    excess = mean * stats.poisson.sf(least - 1, mean) - least * stats.poisson.sf(least, mean)
    total = math.fsum(excess / n)
    # the difference costs the sum digits where waits are rare
    assert multiserver_deterministic.mean_wait(arrival_rate=load, mean_service=1.0, servers=c) * load == pytest.approx(
        total, rel=1e-6
    )


@pytest.mark.parametrize(("c", "rho"), [(2, 0.8), (4, 0.6), (10, 0.9)])
def test_the_mdc_chain_and_its_tail_agree_with_a_dense_solve(c, rho):
    load, size = c * rho, 400
    p = np.array([stats.poisson.pmf(np.arange(size) - max(i - c, 0), load) for i in range(size)])
    p[:, -1] += 1 - p.sum(axis=1)
    a = p.T - np.eye(size)
    a[0] = 1
    law = np.linalg.solve(a, np.eye(size)[0])
    queue = {"arrival_rate": load, "mean_service": 1.0, "servers": c}
    assert multiserver_deterministic.mean_wait(**queue) == close(np.maximum(np.arange(size) - c, 0) @ law / load)
    assert multiserver_deterministic.wait_tail(0.0, **queue) == close(law[c:].sum())
    mean = sum(
        integrate.quad(lambda t: multiserver_deterministic.wait_tail(t, **queue), k, k + 1, epsrel=1e-10)[0]
        for k in range(40)
    )
    assert mean == pytest.approx(multiserver_deterministic.mean_wait(**queue), rel=1e-6)
    assert multiserver_deterministic.wait_tail(
        multiserver_deterministic.wait_quantile(0.99, **queue), **queue
    ) == pytest.approx(0.01, rel=1e-9)


# GI/M/1 and G/G/1


@quick
@given(loads, st.floats(0.01, 100))
def test_gim1_with_poisson_arrivals_is_mm1(rho, mu):
    gap = Exponential(f"{1 / (rho * mu)!r} s")
    queue = {"arrival_rate": rho * mu, "service_rate": mu}
    assert single_server_renewal.prob_wait(gap=gap, service_rate=mu) == pytest.approx(rho, rel=1e-9)
    assert single_server_renewal.mean_wait(gap=gap, service_rate=mu) == pytest.approx(
        multiserver.mean_wait(**queue), rel=1e-9
    )
    p99 = multiserver.wait_quantile(0.99, **queue)
    assert single_server_renewal.wait_quantile(0.99, gap=gap, service_rate=mu) == pytest.approx(p99, rel=1e-9)


@pytest.mark.parametrize("rho", [0.05, 0.5, 0.95, 0.999])
def test_dm1_has_the_root_of_lambert(rho):
    with mpmath.workdps(40):
        z = 1 / mpmath.mpf(rho)
        sigma = float(-mpmath.lambertw(-z * mpmath.exp(-z)) / z)
    assert single_server_renewal.prob_wait(gap=Deterministic(f"{1 / rho!r} s"), service_rate=1.0) == pytest.approx(
        sigma, rel=1e-9
    )


def test_an_interrupted_poisson_stream_is_a_hyperexponential_renewal_stream():
    """Kuczura 1973: the gaps of a source that is on and off are two exponential kinds."""
    gap = Hyperexponential("1.25 s", 4)
    short, long = (1 / m for m in gap.means)
    on = gap.probability * short + (1 - gap.probability) * long
    back = short * long / on
    stop = short + long - on - back
    modulated = markov_modulated.mean_response(
        rate_1=on, rate_2=0.0, sojourn_1=1 / stop, sojourn_2=1 / back, service_rate=1.0
    )
    assert single_server_renewal.mean_response(gap=gap, service_rate=1.0) == close(modulated)
    tail = markov_modulated.response_tail(
        7.0, rate_1=on, rate_2=0.0, sojourn_1=1 / stop, sojourn_2=1 / back, service_rate=1.0
    )
    assert single_server_renewal.response_tail(7.0, gap=gap, service_rate=1.0) == close(tail)


@quick
@given(loads, st.floats(0, 20))
def test_two_moments_are_exact_for_poisson_arrivals(rho, scv):
    queue = {"arrival_rate": rho / 2, "mean_service": 2.0, "service_scv": scv}
    exact = single_server.mean_wait(**queue)
    for formula in (
        single_server_general.kingman,
        single_server_general.klb,
        single_server_general.marchal,
        multiserver_general.allen_cunneen,
        multiserver_general.kimura,
    ):
        poisson = {} if formula is multiserver_general.kimura else {"arrival_scv": 1.0}
        assert formula(**queue, **poisson) == pytest.approx(exact, rel=1e-8)


@quick
@given(st.floats(0.1, 0.95), st.sampled_from([Erlang("1 s", 4), Gamma("1 s", 3), Hyperexponential("1 s", 9)]))
def test_no_gim1_queue_exceeds_the_bound_of_kingman(rho, shape):
    bound = single_server_general.kingman_bound(
        arrival_rate=rho, mean_service=1.0, arrival_scv=shape.scv, service_scv=1.0
    )
    assert single_server_renewal.mean_wait(gap=shape.at(f"{1 / rho!r} s"), service_rate=1.0) <= bound


def test_where_nothing_varies_nothing_waits():
    queue = {"arrival_rate": 0.9, "mean_service": 1.0, "arrival_scv": 0.0, "service_scv": 0.0}
    for formula in (
        single_server_general.kingman,
        single_server_general.klb,
        single_server_general.marchal,
        single_server_general.kingman_bound,
        multiserver_general.allen_cunneen,
        multiserver_general.whitt,
    ):
        assert formula(**queue) == 0


@pytest.mark.parametrize(
    ("rho", "scv", "published"),
    [(0.9, 1.5, 8.50), (0.7, 1.5, 1.06), (0.5, 1.5, 0.15), (0.9, 0.5, 5.19), (0.7, 0.5, 0.68)],
)
def test_kimura_gives_the_published_queue_lengths(rho, scv, published):
    """Kimura 1994, table 1: mean number waiting for 5 servers; his M/D/c is not exact."""
    found = multiserver_general.kimura(arrival_rate=5 * rho, mean_service=1.0, service_scv=scv, servers=5) * 5 * rho
    assert found == pytest.approx(published, abs=0.03)


@quick
@given(loads, st.integers(1, 50))
def test_ggc_is_exact_where_it_says(rho, c):
    queue = {"arrival_rate": rho * c, "mean_service": 1.0, "servers": c}
    markov = multiserver.mean_wait(arrival_rate=rho * c, service_rate=1.0, servers=c)
    assert multiserver_general.allen_cunneen(**queue, arrival_scv=1.0, service_scv=1.0) == close(markov)
    assert multiserver_general.whitt(**queue, arrival_scv=1.0, service_scv=1.0) == close(markov)
    assert multiserver_general.kimura(**queue, service_scv=1.0) == close(markov)
    assert multiserver_general.kimura(**queue, service_scv=0.0) == close(multiserver_deterministic.mean_wait(**queue))


def test_whitt_for_constant_services_is_cosmetatos():
    """M/D/c: half of M/M/c, times ``1 + (1-rho)(c-1)(sqrt(4+5c)-2)/(16 c rho)``; near the exact one."""
    for c, rho in ((2, 0.9), (4, 0.7), (25, 0.9)):
        queue = {"arrival_rate": rho * c, "mean_service": 1.0, "servers": c}
        factor = 1 + (1 - rho) * (c - 1) * (math.sqrt(4 + 5 * c) - 2) / (16 * c * rho)
        markov = multiserver.mean_wait(arrival_rate=rho * c, service_rate=1.0, servers=c)
        found = multiserver_general.whitt(**queue, arrival_scv=1.0, service_scv=0.0)
        assert found == close(markov / 2 * factor)
        assert found == pytest.approx(multiserver_deterministic.mean_wait(**queue), rel=0.02)


# Networks


def test_a_jackson_network_is_solved_exactly():
    routing = [[0.0, 0.6, 0.3], [0.2, 0.0, 0.5], [0.1, 0.0, 0.2]]
    service, servers = [0.2, 1.0, 0.5], [1, 3, 2]
    found = network_analyser.solve(
        external_rate=[1.0, 0.5, 0.0], routing=routing, mean_service=service, servers=servers
    )
    for j in range(3):
        inflow = [1.0, 0.5, 0.0][j] + sum(found.arrival_rate[i] * routing[i][j] for i in range(3))
        assert found.arrival_rate[j] == close(inflow)
        alone = multiserver.mean_wait(arrival_rate=inflow, service_rate=1 / service[j], servers=servers[j])
        assert found.mean_wait[j] == close(alone)
    np.testing.assert_allclose(found.arrival_scv, 1.0, rtol=1e-12)
    assert found.mean_sojourn == close(float(found.arrival_rate @ found.mean_response) / 1.5)


def test_a_network_is_made_of_its_flows():
    """One node alone, a tandem, a split: as the formulas for the single steps say."""
    alone = network_analyser.solve(
        external_rate=[0.8], routing=[[0.0]], mean_service=[1.0], external_scv=0.5, service_scv=2.0
    )
    two = single_server_general.klb(arrival_rate=0.8, mean_service=1.0, arrival_scv=0.5, service_scv=2.0)
    assert alone.mean_wait[0] == close(two)
    tandem = network_analyser.solve(
        external_rate=[0.8, 0.0, 0.0],
        routing=[[0.0, 0.25, 0.75], [0.0] * 3, [0.0] * 3],
        mean_service=1.0,
        external_scv=3.0,
        service_scv=0.5,
    )
    leaving = network_analyser.departure_scv(utilisation=0.8, arrival_scv=3.0, service_scv=0.5)
    assert tandem.arrival_scv[1] == close(network_analyser.splitting_scv(scv=leaving, probability=0.25))
    merged = network_analyser.solve(
        external_rate=[0.5, 0.2], routing=[[0.0, 1.0], [0.0, 0.0]], mean_service=1.0, external_scv=[4.0, 2.0]
    )
    leaving = network_analyser.departure_scv(utilisation=0.5, arrival_scv=4.0, service_scv=1.0)
    expected = network_analyser.superposition_scv(rates=[0.5, 0.2], scvs=[leaving, 2.0], utilisation=0.7)
    assert merged.arrival_scv[1] == close(expected)


# Processor sharing


def tagged_request_tail(t, rate, mu, levels):
    """M/M/1-PS: a request among n others, n up to ``levels``, by the exponential of its generator."""
    n = np.arange(levels)
    leave = mu / (n + 1)
    generator = np.diag(np.full(levels - 1, rate), 1) + np.diag((mu * n / (n + 1))[1:], -1)
    generator -= np.diag(generator.sum(axis=1) + leave)
    start = (1 - rate / mu) * (rate / mu) ** n
    return float(start @ expm(t * generator) @ np.ones(levels))


@pytest.mark.parametrize(("rho", "levels"), [(0.2, 60), (0.5, 120), (0.8, 300)])
def test_the_ps_response_is_the_life_of_a_tagged_request(rho, levels):
    for t in (0.5, 4.0, 25.0):
        expected = tagged_request_tail(t / 3, 3 * rho, 3.0, levels)
        assert processor_sharing.response_tail(t / 3, arrival_rate=3 * rho, service_rate=3.0) == pytest.approx(
            expected, rel=1e-7
        )


def test_the_ps_response_has_its_mean():
    queue = {"arrival_rate": 0.7, "service_rate": 1.0}
    mean = processor_sharing.mean_response(arrival_rate=0.7, mean_service=1.0)
    end = processor_sharing.response_quantile(1 - 1e-6, **queue)
    t = np.concatenate([np.linspace(0, 20, 2001), np.linspace(20, end, 2001)[1:]])
    tails = np.asarray(processor_sharing.response_tail(t, **queue))
    assert integrate.trapezoid(tails, t) == pytest.approx(mean, rel=2e-4)


def test_gps_at_a_constant_step_is_mmc_and_at_a_growing_one_is_ps():
    rate, work, tau = 3.0, 2.0, 0.4
    many = generalised_processor_sharing.occupancy(arrival_rate=rate, mean_work=work, step_times=np.full(4, tau))
    queue = {"arrival_rate": rate, "service_rate": 1 / (work * tau), "servers": 4}
    assert many.prob_slots_full == close(multiserver.prob_wait(**queue))
    assert many.mean_response == close(multiserver.mean_response(**queue))
    assert many.mean_wait == close(multiserver.mean_wait(**queue))
    shared = generalised_processor_sharing.occupancy(
        arrival_rate=rate, mean_work=work, step_times=0.1 * np.arange(1, 400)
    )
    assert shared.mean_response == close(processor_sharing.mean_response(arrival_rate=rate, mean_service=0.2))
    for n in (0, 3, 10, 420):
        assert shared.tail(n) == pytest.approx(0.6 ** (n + 1), rel=1e-9)


def test_gps_is_a_birth_death_process():
    steps = np.array([0.3, 0.35, 0.7, 0.72])
    found = generalised_processor_sharing.occupancy(arrival_rate=2.0, mean_work=1.5, step_times=steps)
    moves = {(n, n + 1): 2.0 for n in range(300)}
    moves.update({(n + 1, n): min(n + 1, 4) / (1.5 * steps[min(n, 3)]) for n in range(300)})
    law = stationary(moves)
    assert found.mean_in_system == close(expect(law, lambda n: n))
    assert found.mean_in_service == close(expect(law, lambda n: min(n, 4)))
    assert found.tail(2) == close(expect(law, lambda n: n > 2))
    assert found.tail(6) == close(expect(law, lambda n: n > 6))


# Batches


def take_all_chain(rate, alpha, tau0, size):
    """The stationary sizes of successive batches, by a dense solve."""
    p = np.array([stats.poisson.pmf(np.arange(size), rate * (alpha * b + tau0)) for b in range(1, size)])
    p = np.column_stack([p[:, 0] + p[:, 1], p[:, 2:]])
    p[:, -1] += 1 - p.sum(axis=1)
    a = p.T - np.eye(size - 1)
    a[0] = 1
    return np.linalg.solve(a, np.eye(size - 1)[0]), np.arange(1, size)


@pytest.mark.parametrize(("load", "tau0"), [(0.01, 2.0), (0.3, 0.0), (0.5, 0.5), (0.5, 9.0), (0.9, 4.0)])
def test_the_take_all_batch_is_the_stationary_chain(load, tau0):
    alpha = 0.25
    rate = load / alpha
    law, b = take_all_chain(rate, alpha, tau0, 900 if load > 0.6 else 250)
    batch_queue = {"arrival_rate": rate, "item_time": alpha, "batch_time": tau0}
    assert batch_service.mean_batch(**batch_queue) == close(law @ b)
    lasting = alpha * b + tau0
    cycle = law @ (lasting + np.exp(-rate * lasting) / rate)  # a batch, and the idle time if nothing came meanwhile
    assert batch_service.utilisation(**batch_queue) == close(law @ lasting / cycle)
    present = law @ (b * lasting + rate * lasting**2 / 2) / cycle
    assert batch_service.mean_response(**batch_queue) == close(present / rate)


@quick
@given(st.floats(0.01, 0.98), st.floats(0.0, 40.0))
def test_the_batch_bound_holds_and_is_tight_at_both_ends(load, tau0):
    queue = {"arrival_rate": load, "item_time": 1.0, "batch_time": tau0}
    exact, bound = batch_service.mean_response(**queue), batch_service.mean_response_bound(**queue)
    assert exact <= bound * (1 + 1e-12)
    assert batch_service.mean_batch(**queue) >= 1
    if load * tau0 > 40:
        assert exact == pytest.approx(bound, rel=1e-9)


def test_the_batch_bound_is_the_response_at_either_extreme_of_the_mean_batch():
    rate, alpha, tau0 = 0.7, 0.9, 3.0
    x = rate * alpha

    def response(mean):
        second = ((1 + 2 * rate**2 * alpha * tau0) * mean + rate**2 * tau0**2) / (1 - x * x)
        return alpha + tau0 + (1 + 2 * x) * (second - mean) / (2 * rate * mean)

    bound = batch_service.mean_response_bound(arrival_rate=rate, item_time=alpha, batch_time=tau0)
    assert bound == close(min(response(1.0), response(rate * tau0 / (1 - x))))


def test_a_limited_batch_is_md1_at_one_and_takes_all_at_many():
    one = batch_service.limited(arrival_rate=0.8, batch_times=[1.0])
    assert one.mean_wait == close(multiserver_deterministic.mean_wait(arrival_rate=0.8, mean_service=1.0))
    assert one.utilisation == close(0.8)
    times = batch_service.affine_batch_times(item_time=0.2, batch_time=1.5, largest=120)
    queue = {"arrival_rate": 2.5, "item_time": 0.2, "batch_time": 1.5}
    many = batch_service.limited(arrival_rate=2.5, batch_times=times)
    assert many.mean_response == close(batch_service.mean_response(**queue))
    assert many.utilisation == close(batch_service.utilisation(**queue))


def test_a_limited_batch_agrees_with_a_dense_solve():
    rate, times, size = 1.9, np.array([1.0, 1.1, 1.4]), 700
    started = np.maximum(np.arange(size), 1)
    taken = np.minimum(started, 3)
    lasting = times[taken - 1]
    came = [np.arange(size) - (s - b) for s, b in zip(started, taken, strict=True)]
    p = np.array([stats.poisson.pmf(count, rate * t) for count, t in zip(came, lasting, strict=True)])
    p[:, -1] += 1 - p.sum(axis=1)
    a = p.T - np.eye(size)
    a[0] = 1
    law = np.linalg.solve(a, np.eye(size)[0])
    cycle = law @ lasting + law[0] / rate
    found = batch_service.limited(arrival_rate=rate, batch_times=times)
    assert found.mean_batch == close(law @ taken)
    assert found.mean_in_system == close(law @ (started * lasting + rate * lasting**2 / 2) / cycle)
    assert found.mean_response == close(found.mean_in_system / rate)


# Set-up, priorities, choices, fork and join


def test_setup_is_a_chain_that_warms_up():
    rate, warm, top = 0.6, 1 / 5.0, 400
    moves = {(("up", 1), ("busy", 1)): warm, (("busy", 1), ("cold", 0)): 1.0, (("cold", 0), ("up", 1)): rate}
    for n in range(1, top):
        moves[("up", n), ("up", n + 1)] = moves[("busy", n), ("busy", n + 1)] = rate
        moves[("up", n + 1), ("busy", n + 1)] = warm
        moves[("busy", n + 1), ("busy", n)] = 1.0
    number = expect(stationary(moves), lambda state: state[1])
    found = setup_time.mean_response(
        arrival_rate=rate, mean_service=1.0, service_scv=1.0, mean_setup=5.0, setup_scv=1.0
    )
    assert found == close(number / rate, rel=1e-7)


def test_without_setup_there_is_no_setup():
    queue = {"arrival_rate": 0.7, "mean_service": 1.0, "service_scv": 3.0}
    assert setup_time.mean_wait(**queue, mean_setup=0.0) == close(single_server.mean_wait(**queue))


@quick
@given(st.lists(st.tuples(st.floats(0.01, 0.2), st.floats(0.1, 1.0), st.floats(0, 9)), min_size=1, max_size=5))
def test_priorities_only_move_the_waits(classes):
    """Kleinrock's conservation law: ``sum rho_k W_k`` does not depend on the order."""
    rate, service, scv = (np.array(part) for part in zip(*classes, strict=True))
    rho = rate * service
    assume(rho.sum() < 0.95)
    waits = priority.non_preemptive_mean_wait(arrival_rate=rate, mean_service=service, service_scv=scv)
    total = rate.sum()
    mean = rho.sum() / total
    mixed = max((rate @ (service**2 * (1 + scv))) / total / mean**2 - 1, 0.0)
    plain = single_server.mean_wait(arrival_rate=total, mean_service=mean, service_scv=mixed)
    assert float(rho @ waits) == pytest.approx(rho.sum() * plain, rel=1e-9)
    assert (np.diff(waits) > 0).all()
    reversed_ = priority.non_preemptive_mean_wait(
        arrival_rate=rate[::-1], mean_service=service[::-1], service_scv=scv[::-1]
    )
    assert float(rho[::-1] @ reversed_) == pytest.approx(float(rho @ waits), rel=1e-9)


def test_preemption_is_a_chain_of_two_counts():
    l0, l1, m0, m1, top = 0.3, 0.2, 1.0, 0.8, 45
    moves = {}
    for i in range(top):
        for j in range(top):
            if i + 1 < top:
                moves[(i, j), (i + 1, j)] = l0
                moves[(i + 1, j), (i, j)] = m0
            if j + 1 < top:
                moves[(i, j), (i, j + 1)] = l1
                if i == 0:
                    moves[(0, j + 1), (0, j)] = m1
    law = stationary(moves)
    found = priority.preemptive_mean_response(arrival_rate=[l0, l1], mean_service=[1 / m0, 1 / m1])
    assert found[0] == pytest.approx(expect(law, lambda s: s[0]) / l0, rel=1e-7)
    assert found[1] == pytest.approx(expect(law, lambda s: s[1]) / l1, rel=1e-6)


def test_priority_with_servers_is_a_chain_of_queues():
    """Two servers, two classes: those in service are alike, so the state is (in service, waiting 0, waiting 1)."""
    l0, l1, mu, top = 0.5, 0.6, 1.0, 45
    moves = {((0, 0, 0), (1, 0, 0)): l0 + l1, ((1, 0, 0), (2, 0, 0)): l0 + l1}
    moves[(1, 0, 0), (0, 0, 0)] = mu
    moves[(2, 0, 0), (1, 0, 0)] = 2 * mu
    for i in range(top):
        for j in range(top):
            if i + 1 < top:
                moves[(2, i, j), (2, i + 1, j)] = l0
                moves[(2, i + 1, j), (2, i, j)] = 2 * mu
            if j + 1 < top:
                moves[(2, i, j), (2, i, j + 1)] = l1
                if i == 0:
                    moves[(2, 0, j + 1), (2, 0, j)] = 2 * mu
    law = stationary(moves)
    found = priority.non_preemptive_mean_wait_servers(arrival_rate=[l0, l1], service_rate=mu, servers=2)
    assert found[0] == pytest.approx(expect(law, lambda s: s[1]) / l0, rel=1e-7)
    assert found[1] == pytest.approx(expect(law, lambda s: s[2]) / l1, rel=1e-6)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_supermarket_is_the_rest_point_of_its_flow(d):
    """``ds_i/dt = rho (s_{i-1}^d - s_i^d) - (s_i - s_{i+1})`` followed until it rests."""
    rho, levels = 0.7, 60

    def flow(_, s):
        full = np.concatenate([[1.0], s, [0.0]])
        return rho * (full[:-2] ** d - full[1:-1] ** d) - (full[1:-1] - full[2:])

    s = integrate.solve_ivp(flow, (0, 2000), np.zeros(levels), method="LSODA", rtol=1e-10, atol=1e-13).y[:, -1]
    queue = {"arrival_rate": rho, "service_rate": 1.0, "choices": d}
    np.testing.assert_allclose(join_shortest_queue.queue_tail(np.arange(1, 9), **queue), s[:8], rtol=1e-5, atol=1e-9)
    assert join_shortest_queue.mean_response(**queue) == pytest.approx(s.sum() / rho, rel=1e-6)
    assert mean_from_tail(lambda t: join_shortest_queue.wait_tail(t, **queue), 1.0) + 1 == pytest.approx(
        join_shortest_queue.mean_response(**queue), rel=1e-7
    )


def test_one_choice_is_mm1():
    assert join_shortest_queue.mean_response(arrival_rate=0.8, service_rate=1.0, choices=1) == close(5.0)
    assert join_shortest_queue.wait_tail(3.0, arrival_rate=0.8, service_rate=1.0, choices=1) == close(
        multiserver.wait_tail(3.0, arrival_rate=0.8, service_rate=1.0)
    )


def test_fork_join_of_two_is_a_chain_of_two_queues():
    """By Little's law: requests in the system are as many as the longer queue."""
    rate, top = 0.5, 50
    moves = {}
    for i in range(top):
        for j in range(top):
            if max(i, j) + 1 < top:
                moves[(i, j), (i + 1, j + 1)] = rate
            if i:
                moves[(i, j), (i - 1, j)] = 1.0
            if j:
                moves[(i, j), (i, j - 1)] = 1.0
    number = expect(stationary(moves), max)
    assert fork_join.mean_response_two(arrival_rate=rate, service_rate=1.0) == pytest.approx(number / rate, rel=1e-6)


@quick
@given(loads, st.integers(2, 32))
def test_fork_join_lies_between_its_bounds(rho, n):
    queue = {"arrival_rate": rho, "service_rate": 1.0}
    found = fork_join.mean_response(**queue, queues=n)
    assert fork_join.mean_response_two(**queue) <= found * (1 + 1e-12)
    assert found <= fork_join.mean_response_bound(**queue, queues=n)
    assert fork_join.mean_response(**queue, queues=1) == close(multiserver.mean_response(**queue))
    assert fork_join.mean_response(**queue, queues=2) == close(fork_join.mean_response_two(**queue))


# Modulated arrivals


@pytest.mark.parametrize(("l1", "l2", "s1", "s2"), [(1.4, 0.2, 20.0, 30.0), (2.0, 0.0, 3.0, 9.0), (0.5, 0.9, 1.0, 5.0)])
def test_mmpp_is_a_chain_of_number_and_phase(l1, l2, s1, s2):
    top, moves = 900, {}
    for n in range(top):
        for i, (rate, sojourn) in enumerate(((l1, s1), (l2, s2))):
            moves[(n, i), (n, 1 - i)] = 1 / sojourn
            if n + 1 < top:
                moves[(n, i), (n + 1, i)] = rate
                moves[(n + 1, i), (n, i)] = 1.0
    law = stationary({pair: rate for pair, rate in moves.items() if rate > 0})
    source = {"rate_1": l1, "rate_2": l2, "sojourn_1": s1, "sojourn_2": s2}
    queue = {**source, "service_rate": 1.0}
    mean = markov_modulated.mean_rate(**source)
    assert markov_modulated.mean_response(**queue) == pytest.approx(expect(law, lambda s: s[0]) / mean, rel=1e-7)
    met = expect(law, lambda s: (s[0] > 0) * (l1, l2)[s[1]]) / mean
    assert markov_modulated.prob_wait(**queue) == pytest.approx(met, rel=1e-8)
    for t in (0.0, 2.0, 15.0):
        stays = expect(law, lambda s, t=t: stats.poisson.cdf(s[0], t) * (l1, l2)[s[1]]) / mean
        assert markov_modulated.response_tail(t, **queue) == pytest.approx(stays, rel=1e-7)
    assert markov_modulated.response_tail(markov_modulated.response_quantile(0.99, **queue), **queue) == close(0.01)


@quick
@given(loads, st.floats(0.1, 1000), st.floats(0.1, 1000))
def test_equal_phases_are_poisson(rho, s1, s2):
    source = {"rate_1": rho, "rate_2": rho, "sojourn_1": s1, "sojourn_2": s2}
    assert markov_modulated.mean_response(**source, service_rate=1.0) == pytest.approx(1 / (1 - rho), rel=1e-8)
    assert markov_modulated.index_of_dispersion(**source) == close(1.0)


def test_the_index_of_dispersion_is_that_of_the_arrivals():
    law = MarkovModulated(rate_1="2 request/s", rate_2="20 request/s", sojourn_1="60 s", sojourn_2="12 s")
    source = {"rate_1": 2.0, "rate_2": 20.0, "sojourn_1": 60.0, "sojourn_2": 12.0}
    assert markov_modulated.index_of_dispersion(**source) == close(law.idc)
    assert markov_modulated.mean_rate(**source) == close(law.rate.m)
    rates, switch, t = np.array([2.0, 20.0]), np.array([[-1 / 60, 1 / 60], [1 / 12, -1 / 12]]), 7.0
    phases = np.array([60 / 72, 12 / 72])

    def pairs(u):  # E[rate(0) rate(u)]
        return float((phases * rates) @ expm(u * switch) @ rates)

    mean = float(phases @ rates)
    variance = mean * t + 2 * integrate.quad(lambda u: (t - u) * (pairs(u) - mean**2), 0, t)[0]
    assert markov_modulated.index_of_dispersion_over(t, **source) == close(variance / (mean * t))
    assert markov_modulated.index_of_dispersion_over(1e9, **source) == close(law.idc, rel=1e-6)


def test_mmpp_broadcasts():
    found = markov_modulated.mean_response(
        rate_1=np.array([[1.4], [1.0]]),
        rate_2=0.2,
        sojourn_1=np.array([10.0, 100.0, 1000.0]),
        sojourn_2=100.0,
        service_rate=1.5,
    )
    one = markov_modulated.mean_response(rate_1=1.0, rate_2=0.2, sojourn_1=100.0, sojourn_2=100.0, service_rate=1.5)
    assert found.shape == (2, 3)
    assert found[1, 1] == close(one)


# Closed systems, infinite servers, run length, replicas


def test_one_station_and_thinkers_are_the_machine_repair_model():
    n, think, service = 14, 6.0, 0.8
    moves = {(k, k + 1): (n - k) / think for k in range(n)}
    moves.update({(k + 1, k): 1 / service for k in range(n)})
    law = stationary(moves)
    found = closed_network.mean_value_analysis(customers=n, demand=[service], think=think)
    assert found.throughput == close((1 - law[0]) / service)
    assert found.station_number[0] == close(expect(law, lambda k: k))
    assert found.mean_response == close(n / found.throughput - think)


def test_a_closed_network_has_a_product_form():
    n, demands = 7, (0.4, 1.0, 0.7)
    states = [(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]
    weights = np.array([math.prod(d**k for d, k in zip(demands, s, strict=True)) for s in states])
    weights /= weights.sum()
    found = closed_network.mean_value_analysis(customers=n, demand=demands)
    for k in range(3):
        assert found.station_number[k] == close(sum(w * s[k] for w, s in zip(weights, states, strict=True)))
        assert found.utilisation[k] == close(sum(w * (s[k] > 0) for w, s in zip(weights, states, strict=True)))


@quick
@given(st.integers(1, 60), st.lists(st.floats(0.01, 5), min_size=1, max_size=4), st.floats(0, 30))
def test_a_closed_network_obeys_its_bounds_and_little(n, demands, think):
    found = closed_network.mean_value_analysis(customers=n, demand=demands, think=think)
    assert found.throughput <= closed_network.throughput_bound(customers=n, demand=demands, think=think) * (1 + 1e-12)
    assert found.station_number.sum() + found.throughput * think == close(n)
    assert closed_network.saturation_customers(demand=demands, think=think) >= 1


def test_kv_tokens_are_the_sums_over_the_steps():
    rate, tau, prompt, mean = 5.0, 0.02, 512.0, 256.0
    j = np.arange(1, 40_000)
    still = (1 - 1 / mean) ** (j - 1.0)
    moments = infinite_server.geometric_moments(mean)
    found = infinite_server.kv_tokens(
        arrival_rate=rate, step_time=tau, prompt_moments=(prompt, 2 * prompt**2), output_moments=moments
    )
    assert found[0] == close(rate * tau * float(still @ (prompt + j)))
    assert found[1] ** 2 == close(rate * tau * float(still @ (2 * prompt**2 + 2 * prompt * j + j**2)))


def test_the_number_present_is_poisson():
    n = np.arange(30)
    found = infinite_server.number_tail(n, arrival_rate=4.0, mean_service=2.0)
    np.testing.assert_allclose(found, stats.poisson.sf(n, 8.0), rtol=1e-12)


def test_the_run_length_is_that_of_the_chain_of_waits():
    """The waits of successive customers on a grid, and the variance of their long mean by a linear solve."""
    rho, step, size = 0.5, 0.05, 900
    edges = (np.arange(-size, size + 1) - 0.5) * step
    shorter, longer = np.exp(rho * np.minimum(edges, 0)) / (1 + rho), rho / (1 + rho) * np.exp(-np.maximum(edges, 0))
    below = np.where(edges < 0, shorter, 1 - longer)  # P(service - gap <= edge)
    mass = np.diff(below)  # mass[k] around (k - size) step
    rows = [np.append(below[size - i + 1], mass[size - i + 1 : 2 * size - i]) for i in range(size)]
    p = np.array(rows)
    p[:, -1] += 1 - p.sum(axis=1)
    a = p.T - np.eye(size)
    a[0] = 1
    law = np.linalg.solve(a, np.eye(size)[0])
    wait = np.arange(size) * step
    centred = wait - law @ wait
    later = np.linalg.solve(np.eye(size) - p + np.outer(np.ones(size), law), centred)
    variance = 2 * (law * centred) @ later - law @ centred**2
    found = run_length.asymptotic_variance(arrival_rate=rho, service_rate=1.0)
    assert found == pytest.approx(variance, rel=3e-3)


def test_the_saturated_replica_is_the_limit_of_the_fixed_point():
    costs = affine_replica.Costs(step_base=0.01, step_each=1e-4, step_token=1e-7, prompt_base=0.005, prompt_token=2e-5)
    lengths = {"prompt": 800.0, "output": 200.0, "context": 1000.0}
    rate = affine_replica.saturation_rate(costs, **lengths, batch=64.0)
    assert affine_replica.mean_batch(costs, arrival_rate=rate, **lengths) == close(64.0)


# Inversion


def test_the_quantile_of_a_tail_that_starts_below_is_0():
    assert transform_inversion.quantile(lambda t: 0.2 * np.exp(-t), np.array(0.5), np.array(1.0)) == 0


def test_the_error_estimate_of_the_inversion_covers_the_error():
    t = np.linspace(0.05, 30, 200)
    for transform, truth in (
        (lambda s: 1 / (1 + s), np.exp(-t)),
        (lambda s: 1 / (1 + s) ** 2 + 1 / (1 + s), (1 + t) * np.exp(-t)),
        (lambda s: (1 - np.exp(-3 * s)) / s, (t < 3).astype(float)),
    ):
        value, error = transform_inversion.euler(transform, t)
        assert (np.abs(value - truth) <= 3 * error + 2e-8).all()


# What is refused


def test_a_wait_below_the_least_double_is_0():
    for formula in (
        multiserver_general.kimura,
        partial(multiserver_general.allen_cunneen, arrival_scv=1.0),
        partial(multiserver_general.whitt, arrival_scv=1.0),
    ):
        assert formula(arrival_rate=0.01, mean_service=1.0, service_scv=4.0, servers=300) == 0


UNSTABLE = {
    "erlang_c": lambda: erlang.erlang_c(5.0, 4),
    "mmc": lambda: multiserver.mean_wait(arrival_rate=5.0, service_rate=1.0, servers=4),
    "mmc at 1": lambda: multiserver.response_quantile(0.99, arrival_rate=4.0, service_rate=1.0, servers=4),
    "mg1": lambda: single_server.mean_wait(arrival_rate=1.0, mean_service=1.0, service_scv=1.0),
    "mg1 tail": lambda: single_server.wait_tail(1.0, arrival_rate=1.1, service=Exponential("1 s")),
    "mh21": lambda: single_server_hyperexponential.wait_quantile(
        0.9, arrival_rate=1.1, mean_service=1.0, service_scv=4.0
    ),
    "mph1": lambda: single_server_phase_type.wait_quantile(0.9, arrival_rate=1.1, start=[1.0], generator=[[-1.0]]),
    "mdc": lambda: multiserver_deterministic.mean_wait(arrival_rate=2.0, mean_service=1.0, servers=2),
    "gim1": lambda: single_server_renewal.mean_wait(gap=Exponential("1 s"), service_rate=1.0),
    "gg1": lambda: single_server_general.kingman(arrival_rate=1.0, mean_service=2.0, arrival_scv=1.0, service_scv=1.0),
    "ggc": lambda: multiserver_general.whitt(
        arrival_rate=9.0, mean_service=1.0, arrival_scv=1.0, service_scv=1.0, servers=9
    ),
    "qna": lambda: network_analyser.solve(external_rate=[1.0], routing=[[0.5]], mean_service=[1.0]),
    "ps": lambda: processor_sharing.response_quantile(0.9, arrival_rate=1.0, service_rate=1.0),
    "gps": lambda: generalised_processor_sharing.occupancy(arrival_rate=5.0, mean_work=1.0, step_times=[1.0, 1.0]),
    "batch": lambda: batch_service.mean_batch(arrival_rate=1.0, item_time=1.0, batch_time=1.0),
    "limited batch": lambda: batch_service.limited(arrival_rate=2.0, batch_times=[1.0, 1.0]),
    "setup": lambda: setup_time.mean_wait(arrival_rate=2.0, mean_service=1.0, service_scv=1.0, mean_setup=1.0),
    "priority": lambda: priority.non_preemptive_mean_wait(arrival_rate=[0.5, 0.6], mean_service=[1.0, 1.0]),
    "jsq": lambda: join_shortest_queue.mean_response(arrival_rate=1.0, service_rate=1.0),
    "fork_join": lambda: fork_join.mean_response(arrival_rate=1.0, service_rate=1.0, queues=4),
    "mmpp": lambda: markov_modulated.mean_response(
        rate_1=3.0, rate_2=0.0, sojourn_1=1.0, sojourn_2=1.0, service_rate=1.5
    ),
    "run_length": lambda: run_length.customers_needed(arrival_rate=1.0, service_rate=1.0),
}


@pytest.mark.parametrize("ask", UNSTABLE.values(), ids=UNSTABLE.keys())
def test_an_overloaded_queue_is_refused_in_one_line_with_a_remedy(ask):
    with pytest.raises(Unstable) as caught:
        ask()
    line = str(caught.value)
    assert line.startswith("utilisation ")
    assert "use " in line
    assert "\n" not in line


def test_the_remedy_names_the_servers_and_the_rate():
    with pytest.raises(Unstable, match=r"1\.25 of 4 servers.*at least 6 servers or an arrival rate below 20 request/s"):
        multiserver.mean_wait(arrival_rate=25.0, service_rate=5.0, servers=4)
    with pytest.raises(Unstable, match=r"utilisation 1\.5 of 3 servers"):  # the worst of an array
        multiserver.mean_wait(arrival_rate=np.array([1.0, 4.5, 3.5]), service_rate=1.0, servers=3)


REFUSED = {
    "negative rate": lambda: multiserver.mean_wait(arrival_rate=-1.0, service_rate=1.0),
    "not a number": lambda: multiserver.mean_wait(arrival_rate=math.nan, service_rate=1.0),
    "infinite": lambda: single_server.mean_wait(arrival_rate=0.5, mean_service=1.0, service_scv=math.inf),
    "text": lambda: multiserver.mean_wait(arrival_rate="fast", service_rate=1.0),
    "no servers": lambda: erlang.erlang_b(1.0, 0),
    "half a server": lambda: multiserver.mean_wait(arrival_rate=0.5, service_rate=1.0, servers=1.5),
    "level 1": lambda: multiserver.wait_quantile(1.0, arrival_rate=0.5, service_rate=1.0),
    "level 99": lambda: multiserver.wait_quantile(99, arrival_rate=0.5, service_rate=1.0),
    "negative time": lambda: multiserver.wait_tail(-1.0, arrival_rate=0.5, service_rate=1.0),
    "room below servers": lambda: multiserver_finite.blocking(
        arrival_rate=1.0, service_rate=1.0, servers=4, capacity=3
    ),
    "regular H2": lambda: single_server_hyperexponential.wait_quantile(
        0.9, arrival_rate=0.5, mean_service=1.0, service_scv=0.5
    ),
    "several counts": lambda: multiserver_deterministic.wait_tail(
        1.0, arrival_rate=0.5, mean_service=1.0, servers=np.array([1, 2])
    ),
    "several queues": lambda: multiserver_deterministic.wait_tail(
        1.0, arrival_rate=np.array([0.5, 0.6]), mean_service=1.0
    ),
    "too near 1": lambda: multiserver_deterministic.mean_wait(arrival_rate=1.999999, mean_service=1.0, servers=2),
    "no law": lambda: single_server_phase_type.wait_tail(
        1.0, arrival_rate=0.5, start=[0.4, 0.4], generator=[[-1.0, 0.0], [0.0, -1.0]]
    ),
    "no way out": lambda: network_analyser.solve(external_rate=[1.0], routing=[[1.0]], mean_service=[0.1]),
    "moments that cannot be": lambda: infinite_server.kv_tokens(
        arrival_rate=1.0, step_time=1.0, prompt_moments=(10.0, 50.0), output_moments=(1.0, 1.0, 1.0)
    ),
}


@pytest.mark.parametrize("ask", REFUSED.values(), ids=REFUSED.keys())
def test_an_argument_that_cannot_be_is_refused_in_one_line(ask):
    with pytest.raises(InputError) as caught:
        ask()
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_functions_broadcast_and_keep_floats_floats():
    rates, servers = np.array([[0.5], [0.9]]), np.array([1, 2, 4])
    assert isinstance(multiserver.mean_wait(arrival_rate=0.5, service_rate=1.0), float)
    assert multiserver.response_quantile(0.99, arrival_rate=rates, service_rate=1.0, servers=servers).shape == (2, 3)
    assert erlang.erlang_b(rates, servers).shape == (2, 3)
    assert multiserver_deterministic.mean_wait(arrival_rate=rates, mean_service=1.0, servers=servers).shape == (2, 3)
    assert single_server.wait_tail(np.ones((2, 2)), arrival_rate=0.5, service=Exponential("1 s")).shape == (2, 2)
    levels, spreads = np.array([0.9, 0.99]), np.array([2.0, 4.0])
    needed = staffing.servers_for_wait_quantile(0.1, levels, arrival_rate=rates, service_rate=1.0)
    assert needed.shape == (2, 2)
    assert single_server_hyperexponential.wait_quantile(
        0.99, arrival_rate=rates, mean_service=1.0, service_scv=spreads
    ).shape == (2, 2)
    assert multiserver_general.kimura(arrival_rate=rates, mean_service=1.0, service_scv=0.5, servers=servers).shape == (
        2,
        3,
    )
    assert batch_service.mean_response(arrival_rate=rates, item_time=0.1, batch_time=servers).shape == (2, 3)
