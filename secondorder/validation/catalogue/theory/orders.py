"""Which request goes first and which may enter: smallest volume first (T6), where waiting happens (T15)."""

from dataclasses import dataclass, replace

import numpy as np

from secondorder.analytic.serving.theory import smallest_volume_first
from secondorder.arrays import Integers
from secondorder.simulate.serving import draw, run
from secondorder.simulate.serving.admissions import peak_reserved
from secondorder.simulate.serving.compiled import run_compiled
from secondorder.simulate.serving.orders import SmallestVolumeFirst
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.theory.theorem import STEP, Theorem, engine
from secondorder.validation.catalogue.twin import Amounts
from secondorder.workloads.lengths import Geometric, Lengths
from secondorder.workloads.requests import Requests

# T6


@dataclass(frozen=True, kw_only=True)
class Released:
    """Requests that are all there at the beginning, of 1 to ``longest`` tokens of prompt and of answer, uniform."""

    memory: int = 1_024
    longest: int = 64
    name: str = "released"

    @property
    def largest_share(self) -> float:
        return 2 * self.longest / self.memory


def volume_bounds(case: Released) -> Amounts:
    return {"above": float(smallest_volume_first.competitive_ratio(case.largest_share)), "below": 1.0}


def completion_sums(case: Released, customers: int, seed: int, replication: int) -> Amounts:
    """The sum of completion times over the least possible one, and the inverse.

    A request that holds ``s + 1`` to ``s + o`` tokens, one more a step, has a prompt of ``s + 1`` for the engine.
    """
    lengths = stream(seed, replication, "lengths")
    prompts, outputs = (lengths.integers(1, case.longest, customers, endpoint=True) for _ in range(2))
    scenario = engine(lengths=Lengths(input=case.longest + 1, output=case.longest), memory=case.memory)
    policies = Policies(waiting=SmallestVolumeFirst, admits=peak_reserved)
    drawn = Requests(arrival=np.zeros(customers), input_tokens=prompts + 1, output_tokens=outputs)
    total = float(run(scenario, drawn, policies=policies).requests["finish"].sum()) / STEP
    least = smallest_volume_first.least_completion_sum(_volumes(prompts, outputs), memory=case.memory)
    return {"above": total / least, "below": least / total}


def _volumes(prompts: Integers, outputs: Integers) -> Integers:
    """Volumes counted token by token, so that the witness does not use the formula."""
    held = [sum(range(s + 1, s + o + 1)) for s, o in zip(prompts.tolist(), outputs.tolist(), strict=True)]
    return np.array(held, np.int64)


# T15


@dataclass(frozen=True, kw_only=True)
class Watermarks:
    """An engine near its limit that allocates blocks on demand; its admissions leave these shares of the cache free.

    - ``strictly``: whether neighbours that are equal are out of order.
    """

    memory: int = 8_000
    rate: float = 0.85
    shares: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    strictly: bool = False
    name: str = "watermarks"


def in_order(case: Watermarks) -> Amounts:
    return {"admission_rises": 1.0, "decode_falls": 1.0}


def p99s(case: Watermarks, customers: int, seed: int, replication: int) -> Amounts:
    """Share of neighbours, from permissive to conservative, whose p99 of admission rises and of decoding falls."""
    lengths = Lengths(input=64, output=Geometric(64))
    scenario = engine(rate=case.rate / STEP, lengths=lengths, memory=case.memory)
    drawn = draw(scenario, customers, seed, replication)
    found = [run_compiled(replace(scenario, watermark=share), drawn).requests for share in case.shares]
    admission = [float(np.quantile(each["scheduled"] - each["arrival"], 0.99)) for each in found]
    decode = [float(np.quantile(each["tpot"].dropna(), 0.99)) for each in found]
    rises = np.greater if case.strictly else np.greater_equal
    return {
        "admission_rises": float(rises(np.diff(admission), 0).mean()),
        "decode_falls": float(rises(-np.diff(decode), 0).mean()),
    }


def _watermarks(title: str, scenario: Watermarks, customers: int) -> Theorem:
    return Theorem(
        theorem="T15",
        title=title,
        written="p99 monotone in the watermark",
        claim="from permissive to conservative admissions wait longer, and decoding stalls less",
        scenario=scenario,
        margins={"admission_rises": 0.05, "decode_falls": 0.05},
        formula=in_order,
        witness=p99s,
        customers=customers,
        pace=5e4,
        units={"admission_rises": "", "decode_falls": ""},
        numbers={"admission_rises": 1.0, "decode_falls": 1.0},
    )


def twins() -> tuple[Theorem, ...]:
    """T6 and T15."""
    return (
        Theorem(
            theorem="T6",
            title="smallest volume first",
            written="1 <= sum/((1/M) sum sum vol) <= 1+2/(1-a)",
            claim="all released at once: the sum of completion times lies between the bound and 3.286 times it",
            kind="bound",
            scenario=Released(),
            margins={"above": 0.01, "below": 0.01},
            formula=volume_bounds,
            witness=completion_sums,
            customers=400,
            pace=3e3,
            units={"above": "", "below": ""},
            numbers={"above": 3.286, "below": 1.0},
        ),
        _watermarks("watermarks of 0 to 40 %", Watermarks(), 10_000),
        _watermarks(
            "watermarks of 0 to 4 %",
            Watermarks(rate=0.93, shares=(0.0, 0.01, 0.02, 0.04), strictly=True),
            20_000,
        ),
    )
