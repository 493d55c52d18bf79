"""What a replay says of the requests that it misses."""

import numpy as np
import pandas as pd

from secondorder.validation.misfits import most_decoding, told_misfits

ARRIVAL = np.arange(80.0)


def requests(first: float = 0.2, last: float = 2.0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    ttft = first + 0.05 * rng.random(80)
    return pd.DataFrame({"ttft": ttft, "e2el": ttft + last, "tpot": np.full(80, last / 50)})


def test_a_replay_without_misses_has_no_notes() -> None:
    assert told_misfits(ARRIVAL, requests(), requests()) == []


def test_the_request_that_sets_a_p99_wrong_is_named_with_its_lateness() -> None:
    late = requests()
    late.loc[56, ["ttft", "e2el"]] += 0.3
    (note,) = (line for line in told_misfits(ARRIVAL, late, requests()) if line.startswith("ttft_p99"))
    assert "without request 57 (at 56.00 s, measured 300 ms more than replayed)" in note
    assert note.endswith("+0.0%")


def test_a_replay_that_is_wrong_in_the_mean_blames_no_single_request() -> None:
    assert told_misfits(ARRIVAL, requests(0.3), requests(0.2)) == []


def test_a_limit_on_sequences_is_suspected_where_fewer_decoded_and_first_tokens_waited() -> None:
    waited = requests(3.0, 2.0)
    assert most_decoding(ARRIVAL, requests(0.2, 6.0)) == 7
    lines = told_misfits(ARRIVAL, waited, requests(0.2, 6.0))
    assert lines[0].startswith("at most 3 requests decoded at once, 7 in the replay")
    assert told_misfits(ARRIVAL, requests(0.2, 2.0), requests(0.2, 6.0)) == []


def test_lost_requests_are_counted() -> None:
    (note,) = told_misfits(ARRIVAL, requests(), requests(), lost=3)
    assert note.startswith("3 of 83 requests without an answer are left out")
