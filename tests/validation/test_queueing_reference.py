"""The queueing closed forms meet the reference values, row by row.

Every row of the file is solved by a function named here; a row that none matches fails. Exact
rows and approximations (compared with the value of their own formula) are met to 1e-6, rows whose
function inverts a transform numerically to 1e-4.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    processor_sharing,
    run_length,
    setup_time,
    single_server,
    single_server_general,
    single_server_hyperexponential,
    staffing,
)
from secondorder.laws import LogNormal

FILE = Path(__file__).parents[3] / "shared" / "reference" / "queueing.csv"
INVERTED = {("M/LN/1", "p99_wait"), ("M/LN/1", "p99_response"), ("M/M/1-PS", "p99_response")}

Row = dict[str, Any]
ROWS: list[Row] = list(csv.DictReader(FILE.read_text().splitlines())) if FILE.exists() else []


def solve(name: str, q: str, p: Row) -> float:
    """The value that the library gives for quantity ``q`` of system ``name``."""
    return float(SYSTEMS[name](q, p))


def markov(q: str, p: Row) -> Any:
    queue = {"arrival_rate": p["rho"] * p["c"] * p["mu"], "service_rate": p["mu"], "servers": p["c"]}
    return {
        "prob_wait": lambda: multiserver.prob_wait(**queue),
        "mean_wait": lambda: multiserver.mean_wait(**queue),
        "mean_response": lambda: multiserver.mean_response(**queue),
        "p99_wait": lambda: multiserver.wait_quantile(0.99, **queue),
        "p99_response": lambda: multiserver.response_quantile(0.99, **queue),
    }[q]()


def finite(q: str, p: Row) -> Any:
    queue = {"arrival_rate": p["lam"], "service_rate": p["mu"], "servers": p["c"], "capacity": p["K"]}
    return {"blocking_prob": multiserver_finite.blocking, "mean_wait_accepted": multiserver_finite.mean_wait}[q](
        **queue
    )


def constant(q: str, p: Row) -> Any:
    servers = p.get("c", 1)
    queue = {"arrival_rate": p["rho"] * servers / p["D"], "mean_service": p["D"], "servers": servers}
    return {
        "mean_wait": lambda: multiserver_deterministic.mean_wait(**queue),
        "p99_wait": lambda: multiserver_deterministic.wait_quantile(0.99, **queue),
        "p99_response": lambda: multiserver_deterministic.response_quantile(0.99, **queue),
    }[q]()


def hyperexponential(q: str, p: Row) -> Any:
    assert p["law"] == "H2 balanced means"
    queue = {"arrival_rate": p["rho"] / p["mean_service"], "mean_service": p["mean_service"], "service_scv": p["scv"]}
    return {
        "mean_wait": lambda: single_server.mean_wait(**queue),
        "p99_wait": lambda: single_server_hyperexponential.wait_quantile(0.99, **queue),
        "p99_response": lambda: single_server_hyperexponential.response_quantile(0.99, **queue),
        "heuristic_p99_wait = M/M/1 p99 * (1+scv)/2": lambda: single_server.scaled_wait_quantile(0.99, **queue),
    }[q]()


def lognormal(q: str, p: Row) -> Any:
    mean, scv, rate = p["mean_service"], p["cv"] ** 2, p["rho"] / p["mean_service"]
    law = LogNormal(f"{mean} s", scv=scv)
    return {
        "mean_wait": lambda: single_server.mean_wait(arrival_rate=rate, mean_service=mean, service_scv=scv),
        "p99_wait": lambda: single_server.wait_quantile(0.99, arrival_rate=rate, service=law),
        "p99_response": lambda: single_server.response_quantile(0.99, arrival_rate=rate, service=law),
    }[q]()


def sharing(q: str, p: Row) -> Any:
    rate, mu = p["rho"] * p["mu"], p["mu"]
    return {
        "mean_response": lambda: processor_sharing.mean_response(arrival_rate=rate, mean_service=1 / mu),
        "p99_response": lambda: processor_sharing.response_quantile(0.99, arrival_rate=rate, service_rate=mu),
    }[q]()


def sharing_given_size(q: str, p: Row) -> Any:
    assert q == "mean_response_given_size"
    return processor_sharing.mean_response_given_size(p["job_size"], arrival_rate=p["rho"], mean_service=1.0)


def inoue(q: str, p: Row) -> Any:
    assert p["bmax"] == "inf"
    alpha, tau0 = p["alpha_ms"], p["tau0_ms"]
    load = float(p["lam_per_ms"].removesuffix("/alpha"))
    queue = {"arrival_rate": load / alpha, "item_time": alpha, "batch_time": tau0}
    return {
        "mean_batch": batch_service.mean_batch,
        "utilisation": batch_service.utilisation,
        "mean_latency_ms_exact": batch_service.mean_response,
        "mean_latency_ms_bound_phi": batch_service.mean_response_bound,
    }[q](**queue)


def limited_batch(q: str, p: Row) -> Any:
    times = batch_service.affine_batch_times(item_time=p["alpha_ms"], batch_time=p["tau0_ms"], largest=p["bmax"])
    load = float(p["lam"].removesuffix("*bmax/(alpha*bmax+tau0)"))
    found = batch_service.limited(arrival_rate=load * p["bmax"] / times[-1], batch_times=times)
    return {"mean_batch": found.mean_batch, "mean_latency_ms": found.mean_response}[q]


def supermarket(q: str, p: Row) -> Any:
    assert (q, p["n"]) == ("mean_response", "inf")
    return join_shortest_queue.mean_response(arrival_rate=p["rho"] * p["mu"], service_rate=p["mu"], choices=p["d"])


def halfin_whitt(q: str, p: Row) -> Any:
    return {
        "servers_sqrt_rule": lambda: staffing.square_root_staffing(p["offered_load"], p["target_prob_wait"]),
        "beta": lambda: staffing.halfin_whitt_beta(p["target_prob_wait"]),
    }[q]()


def erlang_staffing(q: str, p: Row) -> Any:
    assert q == "min_servers_exact"
    return erlang.servers_for_wait(p["offered_load"], p["target_prob_wait"])


def loss(q: str, p: Row) -> Any:
    assert q == "blocking_prob"
    return erlang.erlang_b(p["offered_load"], p["c"])


def fork(q: str, p: Row) -> Any:
    queue = {"arrival_rate": p["rho"] * p["mu"], "service_rate": p["mu"]}
    return {
        "mean_response": lambda: fork_join.mean_response_two(**queue),
        "mean_response_approx": lambda: fork_join.mean_response(**queue, queues=p["n"]),
    }[q]()


def warm_up(q: str, p: Row) -> Any:
    law, mean = p["setup"].split()
    queue = {
        "arrival_rate": p["lam"],
        "mean_service": 1 / p["mu"],
        "service_scv": 1.0,
        "mean_setup": float(mean),
        "setup_scv": {"deterministic": 0.0, "exponential": 1.0}[law],
    }
    return {"mean_wait": setup_time.mean_wait, "mean_response": setup_time.mean_response}[q](**queue)


def kv_tokens(q: str, p: Row) -> Any:
    prompt = float(p["prompt"])
    mean, sd = infinite_server.kv_tokens(
        arrival_rate=p["lam_per_s"],
        step_time=p["step_s"],
        prompt_moments=(prompt, prompt**2),
        output_moments=infinite_server.geometric_moments(float(p["output"].removeprefix("geometric mean "))),
    )
    return {"mean_tokens": mean, "sd_tokens": sd}[q]


def costs(p: Row) -> affine_replica.Costs:
    return affine_replica.Costs(
        step_base=p["b0"], step_each=p["b1"], step_token=p["b2"], prompt_base=p["p0"], prompt_token=p["p1"]
    )


def kv_capacity(q: str, p: Row) -> Any:
    assert q == "max_rate_req_per_s"
    prompt = float(p["prompt"].removeprefix("mean ").removesuffix(" indep"))
    output, second, _ = infinite_server.geometric_moments(float(p["output"].removeprefix("geometric mean ")))
    lengths = {"prompt": prompt, "output": output, "output_second": second}
    read = affine_replica.tokens_read(**lengths)
    held = {"reserve_full_length": affine_replica.tokens_reserved(**lengths), "on_demand": read}[p["policy"]]
    return affine_replica.saturation_rate(costs(p), prompt=prompt, output=output, batch=p["KV"] / held, context=read)


def replica_fixed_point(q: str, p: Row) -> Any:
    assert q == "mean_decode_batch"
    shared = {"b0": 0.008, "b1": 4e-5, "b2": 5e-8, "p0": 0.008, "p1": 6e-5}  # those of the KV capacity rows
    output = float(p["output"].removeprefix("geometric "))
    found = affine_replica.mean_batch(
        costs(shared), arrival_rate=p["lam"], prompt=p["prompt"], output=output, context=p["prompt"] + output
    )
    assert found < p["bmax"]
    return found


def general(q: str, p: Row) -> Any:
    queue = {
        "arrival_rate": p["rho"] / p["mean_service"],
        "mean_service": p["mean_service"],
        "arrival_scv": p["ca2"],
        "service_scv": p["cs2"],
    }
    return {
        "mean_wait_Kingman": single_server_general.kingman,
        "mean_wait_Kingman_upper_bound": single_server_general.kingman_bound,
        "mean_wait_KLB": single_server_general.klb,
        "mean_wait_Marchal": single_server_general.marchal,
    }[q](**queue)


def modulated(q: str, p: Row) -> Any:
    source = {"rate_1": p["l1"], "rate_2": p["l2"], "sojourn_1": 1 / p["r12"], "sojourn_2": 1 / p["r21"]}
    return {
        "mean_response": lambda: markov_modulated.mean_response(**source, service_rate=p["mu"]),
        "IDC_inf": lambda: markov_modulated.index_of_dispersion(**source),
    }[q]()


def circulating(q: str, p: Row) -> Any:
    found = closed_network.mean_value_analysis(customers=p["N"], demand=[p["service"]], think=p["think"])
    return {"mean_response": found.mean_response, "throughput": found.throughput}[q]


def customers(q: str, p: Row) -> Any:
    assert q == "customers_needed_mean_wait"
    return run_length.customers_needed(
        arrival_rate=p["rho"], service_rate=1.0, relative_half_width=p["rel_halfwidth"], confidence=p["conf"]
    )


def decode_replica(q: str, p: Row) -> Any:
    assert p["prefill"] == p["ctx_cost"] == 0
    steps = generalised_processor_sharing.affine_step_times(base=p["b0_s"], each=p["b1_s"], slots=p["bmax"])
    found = generalised_processor_sharing.occupancy(arrival_rate=p["lam"], mean_work=p["mean_out"], step_times=steps)
    return {
        "mean_in_system": found.mean_in_system,
        "mean_e2e_s": found.mean_response,
        "prob_slots_full": found.prob_slots_full,
    }[q]


SYSTEMS: dict[str, Callable[[str, Row], Any]] = {
    "M/M/c": markov,
    "M/G/c/c": loss,
    "M/M/c/K": finite,
    "M/D/1": constant,
    "M/D/c": constant,
    "M/H2/1": hyperexponential,
    "M/LN/1": lognormal,
    "M/M/1-PS": sharing,
    "M/G/1-PS": sharing_given_size,
    "Inoue batch": inoue,
    "batch queue finite bmax": limited_batch,
    "supermarket": supermarket,
    "Halfin-Whitt": halfin_whitt,
    "Erlang C staffing": erlang_staffing,
    "fork-join n=2": fork,
    "fork-join NT": fork,
    "M/M/1 setup": warm_up,
    "M/G/inf KV tokens": kv_tokens,
    "KV capacity": kv_capacity,
    "LLM replica fixed point": replica_fixed_point,
    "G/G/1": general,
    "MMPP2/M/1": modulated,
    "MMPP2": modulated,
    "closed M/M/1": circulating,
    "M/M/1 run length": customers,
    "decode replica as generalised PS (Cohen)": decode_replica,
}


def title(row: Row) -> str:
    return f"{row['name']} {row['parameters']} {row['quantity']}"


@pytest.mark.skipif(not ROWS, reason=f"the reference values {FILE} are not here")
def test_the_reference_file_is_read() -> None:
    assert len(ROWS) >= 100


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_a_closed_form_meets_its_reference_value(row: Row) -> None:
    expected = float(row["value"])
    relative = 1e-4 if (row["name"], row["quantity"]) in INVERTED else 1e-6
    found = solve(row["name"], row["quantity"], json.loads(row["parameters"]))
    assert found == pytest.approx(expected, rel=relative, abs=1e-300)


@pytest.mark.parametrize(("name", "quantity"), [("M/X/1", "mean_wait"), ("M/M/c", "median_wait")])
def test_a_row_that_nothing_solves_fails(name: str, quantity: str) -> None:
    with pytest.raises(KeyError):
        solve(name, quantity, {"c": 1, "rho": 0.5, "mu": 1})
