"""What the benches share: the least processor time of several, and a loop to compare machines by."""

import time
from collections.abc import Callable


def seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """The least processor time of several."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def loop() -> int:
    """Ten million additions, to compare with."""
    total = 0
    for i in range(10_000_000):
        total += i
    return total
