"""What a replay that misses its run says of it: single requests, an unstated limit, requests without an answer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Floats
from secondorder.quantities import pretty
from secondorder.validation.replayed_steps import METRICS, summary

if TYPE_CHECKING:
    import pandas as pd

MISSED = 0.02
"""Relative error of a p99 from which the requests that make it are named."""
SINGLE = 3
"""Requests at most whose absence explains such an error."""
FAR = 0.1
"""Relative error of a mean from which a cause is looked for."""
APART = 1.25
"""Ratio of the most requests that decoded at once, replayed and measured, from which a limit is suspected."""


def told_misfits(arrival: Floats, measured: "pd.DataFrame", simulated: "pd.DataFrame", lost: int = 0) -> list[str]:
    """Lines on what the table of a replay does not show.

    ``measured`` and ``simulated`` have a row a request, with ``ttft, tpot, e2el`` (s), in the order of ``arrival`` (s);
    ``lost``: requests without an answer, which the replay leaves out.
    """
    lines = (
        [f"{lost} of {lost + len(measured)} requests without an answer are left out, whatever the engine did for them"]
        if lost
        else []
    )
    if limit := suspected_limit(arrival, measured, simulated):
        at_once, replayed = limit
        lines.append(
            f"at most {at_once} requests decoded at once, {replayed} in the replay: if the engine had a limit that the "
            "file does not state, state max_num_seqs"
        )
    return [*lines, *_single_requests(arrival, measured, simulated)]


def suspected_limit(arrival: Floats, measured: "pd.DataFrame", simulated: "pd.DataFrame") -> tuple[int, int] | None:
    """The most requests that decoded at once in the run and in the replay, where a limit would explain a mean.

    That is where first tokens were measured later than replayed, and fewer requests decoded at once.
    """
    at_once, replayed = (most_decoding(arrival, frame) for frame in (measured, simulated))
    late = float(measured["ttft"].mean()) > (1 + FAR) * float(simulated["ttft"].mean())
    return (at_once, replayed) if late and replayed > APART * at_once else None


def most_decoding(arrival: Floats, requests: "pd.DataFrame") -> int:
    """The most requests at once between their first and their last token.

    >>> import pandas as pd
    >>> most_decoding(np.array([0.0, 1.0, 5.0]), pd.DataFrame({"ttft": [1.0, 1.0, 1.0], "e2el": [3.0, 3.0, 3.0]}))
    2
    """
    first, last = (arrival + requests[name].to_numpy(float) for name in ("ttft", "e2el"))
    times = np.concatenate([last, first])
    change = np.concatenate([np.full(len(last), -1), np.ones(len(first), int)])
    return int(np.cumsum(change[np.argsort(times, kind="stable")]).max(initial=0))


def _single_requests(arrival: Floats, measured: "pd.DataFrame", simulated: "pd.DataFrame") -> Iterator[str]:
    """A line for each p99 that up to three requests set wrong."""
    before, after = summary(measured), summary(simulated)
    for metric in METRICS:
        name = f"{metric}_p99"
        error = after[name] / before[name] - 1
        if not abs(error) > MISSED or abs(after[f"{metric}_mean"] / before[f"{metric}_mean"] - 1) > MISSED:
            continue
        late = (measured[metric] - simulated[metric]).to_numpy(float)
        furthest = np.argsort(-np.nan_to_num(np.abs(late)), kind="stable")
        for count in range(1, SINGLE + 1):
            kept = np.sort(furthest[count:])
            left = summary(simulated.iloc[kept])[name] / summary(measured.iloc[kept])[name] - 1
            if abs(left) <= MISSED:
                which = ", ".join(
                    f"{place + 1} (at {arrival[place]:.2f} s, measured {_later(late[place])} than replayed)"
                    for place in furthest[:count].tolist()
                )
                yield f"{name}: {error:+.1%}; without request{'s' * (count > 1)} {which} {left:+.1%}"
                break


def _later(seconds: float) -> str:
    return f"{pretty(abs(seconds), 's')} {'more' if seconds > 0 else 'less'}"
