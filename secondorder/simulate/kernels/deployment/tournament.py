"""A tournament that finds the least of many numbers: heats of a few places each, and a final of the heats.

A change of a number costs one heat at most. To find the winner costs the final, which has an eighth of the places. Up
to thousands of places this is faster than a binary tree, whose levels wait for each other.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.compilation import inlined

Numbers: TypeAlias = Integers | Floats
HEAT = 8
"""Places of a heat."""


class Tournament(NamedTuple):
    """The number of each place; for each heat its least number, and how many of its places have it."""

    numbers: Numbers
    least: Numbers
    ties: Integers


def tournament(places: int, number: int | float, beyond: int | float) -> Tournament:
    """A tournament whose places all have the same number; places that only fill the last heat have ``beyond``."""
    numbers = np.full((-(-places // HEAT), HEAT), beyond)
    numbers.reshape(-1)[:places] = number
    return Tournament(numbers.reshape(-1), numbers.min(axis=1), (numbers == numbers[:, :1]).sum(axis=1))


@inlined
def change(players: Tournament, place: int, number: int | float) -> None:
    """Give a place another number."""
    numbers, least, ties, heat = players.numbers, players.least, players.ties, place // HEAT
    if numbers[place] == number:
        return
    ties[heat] -= numbers[place] == least[heat]
    numbers[place] = number
    if number < least[heat]:
        least[heat], ties[heat] = number, 1
    elif ties[heat] == 0:
        lowest, count = number, 0
        for other in range(heat * HEAT, (heat + 1) * HEAT):
            lowest = min(lowest, numbers[other])
        for other in range(heat * HEAT, (heat + 1) * HEAT):
            count += numbers[other] == lowest
        least[heat], ties[heat] = lowest, count
    else:
        ties[heat] += number == least[heat]


@inlined
def final(players: Tournament) -> tuple[float, int]:
    """The least number of all, and how many places have it."""
    lowest, count = players.least[0], players.ties[0]
    for heat in range(1, len(players.least)):
        if players.least[heat] < lowest:
            lowest, count = players.least[heat], players.ties[heat]
        elif players.least[heat] == lowest:
            count += players.ties[heat]
    return lowest, count


@inlined
def place_of(players: Tournament, number: float, skipped: int) -> int:
    """The place, after ``skipped`` others, of a number that is the least of its heat; -1 if there is none."""
    for heat in range(len(players.least)):
        if players.least[heat] == number:
            if skipped < players.ties[heat]:
                return _in_heat(players, heat, number, skipped)
            skipped -= players.ties[heat]
    return -1


@inlined
def _in_heat(players: Tournament, heat: int, number: float, skipped: int) -> int:
    for place in range(heat * HEAT, (heat + 1) * HEAT):
        if players.numbers[place] == number:
            if skipped == 0:
                return place
            skipped -= 1
    return -1
