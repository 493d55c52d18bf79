"""The commands of deployments: a figure is written, what is wrong is said in one line, and exit codes."""

import json
import shlex

import pytest

from secondorder.cli import main

SERVICE = "--model llama_3_1_8b --accelerator h100_sxm --lengths 'input=512 output=geometric 64' --max-num-seqs 32"
DEPLOY = f"deploy {SERVICE} --arrivals 'poisson 20 request/s' --replicas 2"


def run(line: str) -> int:
    return main(shlex.split(line))


def test_deploy_draws_the_death_of_a_replica(tmp_path, capsys):
    figure = tmp_path / "death.svg"
    line = f"{DEPLOY} --faults 'kill 1 at=5 s restart=5 s; slow 0 at=1 s lasts=2 s' --num-prompts 400 --replications 2"
    page = tmp_path / "page"
    assert run(f"{line} --figure {figure} --report {page} --format json") == 0
    assert (page / "index.html").read_text().count("<svg") >= 2
    rows = {row["metric"]: row for row in json.loads(capsys.readouterr().out) if row["source"] == "simulated"}
    assert rows["lost_share"]["value"] > 0
    assert rows["goodput_lost"]["unit"] == "request"
    assert figure.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--router shortest", "router: got 'shortest', expected least-outstanding, random, round-robin"),
        ("--router 'power-of-d 3'", "router.choices: got 3, expected at most the 2 replicas"),
        ("--router prefix-aware --no-enable-prefix-caching", "set enable_prefix_caching of the service"),
        ("--faults 'kill 5 at=1 s restart=1 s'", "faults: got replica 5, expected one of 0 to 1"),
        ("--faults 'explode 1'", "expected kill, random, zone, slow, rolling"),
        ("--after-failure buried", "after"),
        ("--others '2 colour=red'", "others"),
        ("--autoscaler '20 most=1'", "autoscaler: got 2 replicas at the start, expected at most 1 replicas"),
        ("--no-simulate --figure x.png", "a figure without a simulation"),
    ],
)
def test_what_is_wrong_with_a_deployment_is_said_in_one_line(flags, said, capsys):
    assert run(f"{DEPLOY} {flags}") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_too_much_for_the_replicas_is_unstable(capsys):
    assert run(f"deploy {SERVICE} --arrivals 'poisson 500 request/s' --replicas 2 --no-simulate") == 3
    assert "lower the rate or add replicas" in capsys.readouterr().err


def test_search_prints_the_cheapest_layout_first(tmp_path, capsys):
    line = "search --model llama_3_1_8b --lengths 'input=512 output=geometric 64' --rate '20 request/s'"
    found = "--ttft-p99 '200 ms' --accelerators h100_sxm,a100_80gb --tensor-parallel-sizes 1,2 --contenders 0"
    pareto = tmp_path / "pareto.svg"
    assert run(f"{line} {found} --format json --figure {pareto}") == 0
    assert "USD/hour" in pareto.read_text()
    rows = json.loads(capsys.readouterr().out)
    assert [row["cost"] for row in rows] == sorted(row["cost"] for row in rows)
    assert {"cost_per_input_token", "cost_per_output_token", "ttft_p99", "rests_on"} <= rows[0].keys()
    assert run(f"{line} {found}") == 0
    assert "USD per million tokens" in capsys.readouterr().out
    assert run(f"{line} --accelerators h100_sxm") == 2
    assert "no objective" in capsys.readouterr().err
    assert run(f"{line} --ttft-p99 '1 ms' --accelerators h100_sxm --tensor-parallel-sizes 1") == 3
    assert run(f"{line} --ttft-p99 '1 s' --tensor-parallel-sizes one") == 2
    assert run(f"{line} --ttft-p99 '1 s' --token-budgets many") == 2
    assert "token_budgets" in capsys.readouterr().err
    assert run(f"{line} {found} --token-budgets 512,4096") == 0
    assert "a100_80gb bf16 512 " in capsys.readouterr().out
    assert run(f"{line} {found} --regions poland,norway=1.1 --format json --figure {pareto}") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"region", "carbon", "carbon_per_output_token"} <= rows[0].keys()
    assert "kgCO2e/hour" in pareto.read_text()
    one = "--ttft-p99 '200 ms' --accelerators h100_sxm --tensor-parallel-sizes 1 --contenders 0"
    assert run(f"{line} {one} --splits '50 GB/s'") == 0
    assert "1+1 x 1 h100_sxm" in capsys.readouterr().out
    assert run(f"{line} {found} --splits '50 GB'") == 2
    assert "splits.bandwidth" in capsys.readouterr().err
    assert run(f"{line} {found} --regions poland=cheap") == 2
    assert "poland,quebec=1.1" in capsys.readouterr().err


def test_max_rate_says_what_binds(capsys):
    line = f"max-rate {SERVICE} --arrivals 'poisson 1 request/s' --replicas 2 --ttft-p99 '100 ms' --no-simulate"
    assert run(f"{line} --price '2 USD/hour'") == 0
    out = capsys.readouterr().out
    assert "bound by ttft_p99" in out
    assert "USD/Mtok" in out
