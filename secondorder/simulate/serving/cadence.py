"""The prefill cadence: prompts are computed in every n-th step only, so that decodes run undisturbed in between."""

from dataclasses import dataclass


@dataclass(slots=True)
class Cadence:
    """After a step with prefill, no prefill for ``interval`` steps, unless more requests wait than a step admits."""

    interval: int
    last: int = -(10**9)
    """The last step that computed prefill."""
    saturated: bool = False
    """Whether requests waited after the last admission."""

    def holds(self, done: int) -> bool:
        """Whether the step after ``done`` others computes no prefill, provided that somebody decodes."""
        return not self.saturated and done + 1 - self.last < self.interval
