"""The registry of scenarios: every reference resolves, and a scenario made up here works everywhere."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import secondorder as so
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Estimate, Rung
from secondorder.answers.metric import Metric
from secondorder.cli import app, systems
from secondorder.plans.schema import table_schema
from secondorder.systems.registry import SYSTEMS, register, system_of
from secondorder.systems.system import System, loaded
from secondorder.verbs import can_simulate


@dataclass(frozen=True, kw_only=True)
class CoinTosses:
    """Tosses of a coin.

    - ``tosses``: How many times the coin is thrown.
    - ``share``: Share of heads in the long run.
    - ``name``: What tables call the scenario.
    """

    tosses: int
    share: float = 0.5
    name: str = "coin tosses"


def solve_coins(scenario: CoinTosses) -> Answer:
    amount = scenario.tosses * scenario.share
    heads = Rung(metric="heads", amount=amount, source="binomial", order=1, claim=Claim.EXACT)
    return Answer(scenario=scenario.name, estimates=(heads,), how="closed form")


def simulate_coins(scenario: CoinTosses, *, seed: int, replications: int, jobs: int) -> Answer:
    import numpy as np

    from secondorder.simulate.statistics.intervals import student

    drawn = np.random.default_rng(seed).binomial(scenario.tosses, scenario.share, replications)
    found = student(drawn.astype(float).tolist())
    heads = Estimate(metric="heads", amount=found.mean, source="simulated", low=found.low, high=found.high)
    return Answer(scenario=scenario.name, estimates=(heads,), how=f"{replications} replications")


COINS = System(
    kind=CoinTosses,
    title="Tosses of a coin.",
    example="--tosses 1000",
    closed_form=solve_coins,
    simulator=simulate_coins,
    replications=50,
    metrics=(Metric(name="heads", unit="sample"),),
)


@pytest.fixture
def coins() -> Iterator[System]:
    yield register(COINS)
    del SYSTEMS[COINS.word]


def test_every_lazy_reference_of_every_system_resolves() -> None:
    for word, system in SYSTEMS.items():
        assert system.word == word
        assert callable(loaded(system.closed_form))
        assert system.simulator is None or callable(loaded(system.simulator))
        assert system.type.__name__ in so.__all__


def test_a_scenario_made_up_here_is_solved_simulated_compared_and_swept(coins: System) -> None:
    scenario = CoinTosses(tosses=1000)
    assert system_of(scenario) is coins
    assert so.solve(scenario).best("heads").amount == 500
    assert {e.unit for verb in (so.solve, so.simulate) for e in verb(scenario).estimates} == {"sample"}
    assert so.simulate(scenario, seed=1).how == "50 replications"
    found = so.compare(scenario, seed=1)
    assert [str(judged.verdict) for judged in found.judged] == ["agrees"]
    frame = so.sweep(scenario, {"tosses": [1000, 4000]}, seed=1)
    assert frame[frame["order"] == 1]["value"].tolist() == [500, 2000]


def test_a_scenario_made_up_here_has_plans_a_schema_and_a_command(
    coins: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[coin_tosses]\ntosses = 1000\nshare = 0.25\n")
    from secondorder.cli import main

    assert main(["solve", str(plan), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["value"] == 250
    assert main(["compare", str(plan)]) == 0
    assert "agrees" in capsys.readouterr().out
    assert table_schema(CoinTosses)["required"] == ["tosses"]
    app.command(systems.command(coins), name="coin-tosses")
    assert main(["coin-tosses", "--tosses", "1000", "--format", "csv"]) == 0
    assert "coin tosses,heads,sample,binomial,1,500" in capsys.readouterr().out
    assert main(["coin-tosses", "--tosses", "1000", "--share", "0.25"]) == 0
    table = capsys.readouterr().out
    assert "coin tosses" in table
    assert "250" in table
    assert main(["coin-tosses"]) == 2
    assert "coin-tosses: --tosses: got nothing, expected an integer" in capsys.readouterr().err
    assert main(["coin-tosses", "--help"]) == 0
    assert "How many times the coin is thrown. [required]" in " ".join(capsys.readouterr().out.replace("│", "").split())
    assert main(["schema", "--table", "coin_tosses"]) == 0
    assert json.loads(capsys.readouterr().out) == table_schema(CoinTosses)


def test_a_scenario_made_up_here_is_written_and_read_back(coins: System, tmp_path: Path) -> None:
    scenario = CoinTosses(tosses=1000, share=0.25, name="mine")
    plan = tmp_path / "plan.toml"
    assert so.write_plan(scenario, file=plan) == '[coin_tosses]\ntosses = 1000\nshare = 0.25\nname = "mine"\n'
    assert so.read_plan(str(plan)).one() == scenario


def test_a_scenario_made_up_here_is_in_the_reference(coins: System) -> None:
    docs = Path(__file__).parents[2] / "docs" / "make_reference.py"
    made = runpy.run_path(str(docs))["scenario"](coins)
    assert made.startswith("\n### `coin_tosses`\n\nTosses of a coin.\n\n- `tosses`: How many times the coin is thrown.")


def test_what_is_no_scenario_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(so.InputError, match=r"got int, expected a scenario: .*Serving"):
        so.solve(3)  # type: ignore[arg-type]


def test_two_systems_of_one_name_are_refused() -> None:
    other = System(kind=type("Queue", (), {}), title="", example="", closed_form=solve_coins)
    with pytest.raises(so.InputError, match="got 'queue'"):
        register(other)


@pytest.mark.parametrize("word", [word for word, system in SYSTEMS.items() if system.simulator is not None])
def test_every_simulated_value_says_that_it_is_simulated(word: str) -> None:
    system = SYSTEMS[word]
    scenario = systems.read(system, system.example_values)
    if not can_simulate(scenario):
        pytest.skip("nothing is random in its example")
    length = {"requests": 400} if system.has_requests else {}
    found = so.simulate(scenario, replications=2, **length)
    assert {each.source for each in found.estimates} == {"simulated"}


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "secondorder", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, so.__version__)
