"""Training steps as they ran: every operation of every rank, with its start and its duration.

The format is that of ByteDance's StragglerAnalysis (Lin et al., 2025): a row an operation, with the columns ``dp_rank,
stage, step, optype, start_ts`` and ``duration`` in seconds, ``seq_id`` (its place among those of its type, rank and
step), ``mc`` (the rank's chunk of the model) and ``gmc`` (the place of that chunk in the whole pipeline).
"""

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.errors import FileError
from secondorder.workloads.step_graph import Operation, StepGraph, graph_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dp_rank", "stage", "step", "optype", "start_ts", "duration", "seq_id", "mc", "gmc")
KEY = ("optype", "stage", "seq_id")


@dataclass(frozen=True, kw_only=True, eq=False)
class StepTrace:
    """Recorded steps of one job. ``starts`` and ``ends`` (s) have the shape (operations, replicas, steps)."""

    name: str
    operations: tuple[Operation, ...]
    starts: Floats
    ends: Floats
    steps: tuple[int, ...]

    @property
    def replicas(self) -> int:
        """Data-parallel replicas of the model."""
        return int(self.starts.shape[1])

    @property
    def stages(self) -> int:
        """Stages of the pipeline."""
        return 1 + max(operation.stage for operation in self.operations)

    @cached_property
    def graph(self) -> StepGraph:
        """What waits for what, as the first replica ran its first step."""
        return graph_of(self.operations, self.starts[:, 0, 0], self.ends[:, 0, 0])

    @cached_property
    def seconds(self) -> Floats:
        """What each operation takes by itself: its duration, less its wait for peers if it is a communication.

        The transfer of a communication is its end minus the latest start in its group.
        """
        latest = self.starts.copy()
        for group in self.graph.groups:
            if len(group.members) > 1 or group.across_replicas:
                members = list(group.members)
                start = self.starts[members].max(axis=0)
                latest[members] = start.max(axis=0) if group.across_replicas else start
        return np.maximum(self.ends - latest, 0.0)

    @cached_property
    def launch_delays(self) -> Floats:
        """Time (s) from the end of all that an operation waits for to its start."""
        ready = np.zeros_like(self.starts)
        for place, after in enumerate(self.graph.after):
            if after:
                ready[place] = self.ends[list(after)].max(axis=0)
        return self.starts - ready

    @property
    def step_seconds(self) -> Floats:
        """Measured time of each step (s), from the first start to the last end."""
        span: Floats = self.ends.max(axis=(0, 1)) - self.starts.min(axis=(0, 1))
        return span

    def __repr__(self) -> str:
        size = f"{self.replicas} replicas of {self.stages} stages, {len(self.steps)} steps"
        return f"<step trace {self.name}: {size} of {np.mean(self.step_seconds):.3g} s>"


def read_step_trace(path: str | PathLike[str]) -> StepTrace:
    """Read recorded training steps from a Parquet or CSV file.

    Each rank and step must have the same operations; the order in which a rank computes is taken from the first step
    of the first replica, and all others are taken to follow it.
    Errors: ``FileError`` for a file that cannot be read, columns that are absent, times that are no times, operations
    that are absent or twice.
    *Source of the format*: Lin et al., Understanding Stragglers in Large Model Training Using What-if Analysis (2025).
    """
    rows = _rows(Path(path))
    absent = [column for column in COLUMNS if column not in rows.columns]
    if absent:
        raise FileError(str(path), given=f"no column {', '.join(absent)}", expected=f"the columns {', '.join(COLUMNS)}")
    return step_trace(rows, Path(path).stem, str(path))


def step_trace(rows: "pd.DataFrame", name: str, where: str = "step trace") -> StepTrace:
    """The trace that a frame of such rows holds; ``where`` names it in errors."""
    if rows.empty:
        raise FileError(where, given="no row", expected="a row an operation")
    start = rows["start_ts"].to_numpy(float)
    duration = rows["duration"].to_numpy(float)
    bad = ~(np.isfinite(start) & np.isfinite(duration) & (duration >= 0))
    if bad.any():
        line = int(bad.argmax())
        given = f"a start of {start[line]} s and a duration of {duration[line]} s in row {line + 1}"
        raise FileError(where, given=given, expected="times in seconds, no duration below zero")
    first = rows.drop_duplicates(list(KEY)).sort_values(["stage", "optype", "seq_id"])
    operations = tuple(
        Operation(kind=str(kind), stage=int(stage), place=int(place), chunk=int(chunk), position=int(position))
        for kind, stage, place, chunk, position in first[[*KEY, "mc", "gmc"]].itertuples(index=False)
    )
    index = {(o.kind, o.stage, o.place): number for number, o in enumerate(operations)}
    keys = zip(*(rows[column].tolist() for column in KEY), strict=True)
    place = np.array([index[str(kind), stage, order] for kind, stage, order in keys])
    replicas, replica = np.unique(rows["dp_rank"].to_numpy(), return_inverse=True)
    steps, step = np.unique(rows["step"].to_numpy(), return_inverse=True)
    shape = (len(operations), len(replicas), len(steps))
    cells = np.ravel_multi_index((place, replica, step), shape)
    _check_complete(np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape), operations, steps, where)
    starts, ends = np.empty(shape), np.empty(shape)
    starts.flat[cells], ends.flat[cells] = start, start + duration
    starts_of_steps = starts.min(axis=(0, 1))
    return StepTrace(
        name=name, operations=operations, starts=starts - starts_of_steps, ends=ends - starts_of_steps,
        steps=tuple(steps.tolist()),
    )  # fmt: skip


def _rows(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if path.suffix not in (".parquet", ".csv"):
        raise FileError(str(path), given=f"a name ending in {path.suffix!r}", expected=".parquet or .csv")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except ImportError:
        remedy = 'python -m pip install "secondorder[parquet]"'
        raise FileError(str(path), given="a Parquet file", expected="pyarrow installed", remedy=remedy) from None
    except OSError as error:
        raise FileError(str(path), given=error.strerror or str(error), expected="a file that can be read") from None
    except ValueError as error:
        raise FileError(str(path), given=str(error).splitlines()[0], expected="a Parquet or CSV file") from None


def _check_complete(count: Integers, operations: tuple[Operation, ...], steps: Integers, where: str) -> None:
    wrong = np.argwhere(count != 1)
    if len(wrong):
        place, replica, step = wrong[0].tolist()
        times = "twice" if count[place, replica, step] else "absent"
        given = f"{operations[place]} of replica {replica} in step {steps[step]} {times}"
        raise FileError(where, given=given, expected="each operation once in every step of every replica")
