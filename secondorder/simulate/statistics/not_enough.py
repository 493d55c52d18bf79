"""The error of a run that is too short, with the length that would do."""

import math

from secondorder.errors import InputError


class NotEnoughData(InputError):
    """A run too short for what was asked of it; ``needed`` observations would do."""

    def __init__(self, what: str, *, given: object, expected: str, needed: float, remedy: str = "") -> None:
        self.needed = math.ceil(needed)
        super().__init__(what, given=given, expected=expected, remedy=remedy or f"simulate at least {self.needed:,}")

    def __reduce__(self) -> tuple[object, ...]:
        return _not_enough, (self.what, self.given, self.expected, self.needed, self.remedy)


def _not_enough(what: str, given: str, expected: str, needed: int, remedy: str) -> NotEnoughData:
    return NotEnoughData(what, given=given, expected=expected, needed=needed, remedy=remedy)
