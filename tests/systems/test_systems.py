"""The registry of scenarios: every reference resolves, and a scenario made up here works everywhere."""

import json
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
from secondorder.cli.schema import table_schema
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

    from secondorder.simulate.output import student

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
    paths = {flag.field.name: flag.path for flag in systems._flags(system.type, systems.OPTIONAL)}
    scenario = systems.read(system.type, {paths[name]: text for name, text in system.example_values.items()})
    if not can_simulate(scenario):
        pytest.skip("nothing is random in its example")
    length = {"requests": 2_000} if system.has_requests else {}
    found = so.simulate(scenario, replications=2, **length)
    assert {each.source for each in found.estimates} == {"simulated"}


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "secondorder", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, so.__version__)
