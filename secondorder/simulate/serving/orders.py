"""Orders of waiting that know, or guess, how long each answer will be."""

from collections.abc import Sequence

from secondorder.simulate.serving.policies import Rank, Ranked
from secondorder.simulate.serving.request import Slot


class SmallestVolumeFirst(Ranked):
    """The request with the fewest tokens held over all its steps first: ``prompt output + output (output + 1)/2``."""

    def rank(self, slot: Slot) -> Rank:
        ask = slot.ask
        return ask.prompt * ask.output + ask.output * (ask.output + 1) // 2, ask.arrival, ask.index


class ShortestPredictedFirst(Ranked):
    """The shortest ``predicted`` answer first, by the index of the request.

    ``Policies(waiting=partial(ShortestPredictedFirst, predictions))``.
    """

    def __init__(self, predicted: Sequence[float]) -> None:
        super().__init__()
        self.predicted = predicted

    def rank(self, slot: Slot) -> Rank:
        return self.predicted[slot.ask.index], slot.ask.arrival, slot.ask.index
