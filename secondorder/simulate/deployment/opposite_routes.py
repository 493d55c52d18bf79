"""Two engines that two classes of requests visit in opposite order, step by step (Rybko and Stolyar, with tokens).

Both engines step together. In a step an engine has a budget of tokens: first for requests in their last stage, then for
those in their first, each in the order of arrival; a request takes what is left of its prompt, as far as the budget
goes, or one token of its answer. What ends its first stage is at the other engine in the next step.
"""

from collections import deque

from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.simulate.streams import stream


class Station:
    """An engine: requests of both stages, each as its tokens of prompt and of answer that are left."""

    def __init__(self, routes: OppositeRoutes) -> None:
        self.routes = routes
        self.first, self.last = (deque[list[int]]() for _ in range(2))

    @property
    def number(self) -> int:
        """Requests here."""
        return len(self.first) + len(self.last)

    def step(self) -> int:
        """One step; how many requests have ended their first stage."""
        left = self.routes.budget
        if self.routes.last_first:
            left, _ = serve(self.last, left)
            _, ended = serve(self.first, left)
        else:
            left, ended = serve(self.first, left)
            serve(self.last, left)
        return ended


def serve(line: deque[list[int]], left: int) -> tuple[int, int]:
    """Give a line its tokens in order; what is left of the budget, and how many requests have ended."""
    ended, place = 0, 0
    while left and place < len(line):
        one = line[place]
        taken = min(one[0], left) if one[0] else 1
        one[0 if one[0] else 1] -= taken
        left -= taken
        if not one[0] and not one[1]:
            del line[place]
            ended += 1
        else:
            place += 1
    return left, ended


def numbers(routes: OppositeRoutes, steps: int, *, start: int = 0, seed: int = 0, replication: int = 0) -> list[int]:
    """Requests inside both engines at the end of each step, with ``start`` of the first class at the beginning."""
    chance = stream(seed, replication, "arrivals")
    stations = [Station(routes), Station(routes)]
    stations[0].first.extend(list(routes.first) for _ in range(start))
    found = []
    for arriving in chance.poisson(routes.rate, size=(steps, 2)):
        for station, count in zip(stations, arriving, strict=True):
            station.first.extend(list(routes.first) for _ in range(count))
        moved = [station.step() for station in stations]
        for station, count in zip(stations, reversed(moved), strict=True):
            station.last.extend(list(routes.last) for _ in range(count))
        found.append(sum(station.number for station in stations))
    return found
