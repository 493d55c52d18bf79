"""The catalogue's trajectories are those that were kept, and a change is told by ingredient."""

from importlib import import_module

import pytest

from secondorder.simulate.queues import recursions
from secondorder.validation.catalogue import twins
from secondorder.validation.catalogue.fingerprints import changes, fingerprint, fingerprints, kept
from secondorder.workloads.arrivals import Poisson

CATALOGUE = {twin.title: twin for twin in twins()}
TITLE = "M/M/1, rho 0.8"


def test_the_trajectories_of_the_catalogue_are_those_that_were_kept() -> None:
    """Where a change is meant: python -m secondorder.validation.catalogue.fingerprints --write."""
    assert changes(kept(), fingerprints(list(CATALOGUE.values()))) == []


def told() -> list[str]:
    return changes({TITLE: kept()[TITLE]}, {TITLE: fingerprint(CATALOGUE[TITLE].scenario)})


def test_a_server_that_idles_changes_steps_and_completions_and_no_arrivals(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, right = import_module("secondorder.simulate.queues.run"), recursions.lindley
    monkeypatch.setattr(runs, "lindley", lambda arrival, service: right(arrival, service + 0.02))
    assert told() == [f"{TITLE}: steps and completions changed, arrivals as before"]


def test_faster_arrivals_change_all_three_ingredients(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Poisson.times
    monkeypatch.setattr(Poisson, "times", lambda law, n, rng: right(law, n, rng) / 1.02)
    assert told() == [f"{TITLE}: arrivals and steps and completions changed"]


def test_a_trajectory_of_a_new_or_lost_twin_is_told() -> None:
    assert changes({"a": {"steps": "1"}}, {"b": {"steps": "1"}}) == ["a: gone", "b: new"]
