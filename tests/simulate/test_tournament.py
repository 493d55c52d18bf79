"""The least of many numbers, and those that share it, against a look at all of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.compilation import compiled
from secondorder.simulate.kernels.deployment.tournament import (
    HEAT,
    Tournament,
    change,
    final,
    place_of,
    tournament,
)

changes = st.lists(st.tuples(st.integers(0, 3 * HEAT + 1), st.integers(0, 4)), max_size=60)


@compiled
def played(players: Tournament, place: int, number: float, lowest: Floats, found: Integers) -> int:
    """Change one; write down the least number and the places that have it, and return how many these are."""
    change(players, place, number)
    lowest[0], count = final(players)
    for skipped in range(count + 1):
        found[skipped] = place_of(players, lowest[0], skipped)
    return count


@settings(deadline=None)  # the first one compiles
@given(st.integers(1, 3 * HEAT + 2), changes)
def test_a_tournament_knows_the_least_number_and_each_of_its_places(places, changes):
    players, numbers = tournament(places, 3.0, np.inf), np.full(places, 3.0)
    lowest, found = np.zeros(1), np.zeros(places + 1, np.int64)
    for place, number in changes:
        if place < places:
            numbers[place] = number
            count = played(players, place, float(number), lowest, found)
            tied = np.flatnonzero(numbers == numbers.min())
            assert lowest[0] == numbers.min()
            assert found[: count + 1].tolist() == [*tied, -1]
