"""Traces: recorded requests, read from the files that the field publishes.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> rows = ["TIMESTAMP,ContextTokens,GeneratedTokens",
...         "2023-11-16 18:17:03.50,4808,10", "2023-11-16 18:17:04.00,3180,8", "2023-11-16 18:17:05.50,110,27"]
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "code.csv"
...     _ = path.write_text("\\n".join(rows))
...     trace = read_trace(path)
>>> trace
<trace code: 3 requests at 1 request/s>
>>> trace.at("4 request/s").requests.arrival
array([0.   , 0.125, 0.5  ])

==============  ====================================================================  ===============
format          columns or keys                                                       time
==============  ====================================================================  ===============
azure           TIMESTAMP, ContextTokens, GeneratedTokens (Azure, 2023 to 2025)       date and time
mooncake        timestamp, input_length, output_length, hash_ids, priority (a JSON    milliseconds
                object a line); later turns have a delay
bailian         the same with chat_id and turn, blocks of 16 tokens                   seconds
burstgpt        Timestamp, Request tokens, Response tokens (others are not read)      seconds
vidur           arrived_at, num_prefill_tokens, num_decode_tokens                     seconds
blis            arrival_time_us, input_tokens, output_tokens, after a head in YAML    microseconds
dynamo          request_received_ms, input_tokens, output_tokens, at any depth        milliseconds
vllm            result of ``vllm bench serve --save-result --save-detailed``          seconds
guidellm        result of GuideLLM: benchmarks, each with its requests                seconds
aiperf          AIPerf's profile_export.jsonl                                         nanoseconds
inference-perf  per-request JSON: start_time, info.input_tokens, info.output_tokens   seconds
columns         named by the caller                                                   unit by caller
==============  ====================================================================  ===============

Nothing is repaired in silence. A row that cannot be a request (a token count that is no
integer of at least 1, a time that is no time) is an error naming its line. Three things are
mended, each with a ``TraceWarning`` and a line in ``Trace.notes``: rows out of order are
sorted by time, failed requests are left out where the format marks them (BurstGPT by 0
response tokens, the load generators by an error), and what an option asks for is done. Zero
output tokens in any other format are refused; so are images, later turns and missing
outputs, until an option says what to do with them, and times that no unit of the format
makes a plausible rate of.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np

from secondorder.errors import InputError
from secondorder.quantities import Duration, Quantity, Rate, Unit, registry, si
from secondorder.spelling import spell
from secondorder.workloads.arrivals import TraceArrivals
from secondorder.workloads.lengths import Empirical
from secondorder.workloads.requests import Requests
from secondorder.workloads.trace_formats import Options, format_of, read_requests
from secondorder.workloads.trace_rows import read_rows


class TraceWarning(UserWarning):
    """A trace was mended while it was read; ``Trace.notes`` says how."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Trace:
    """Recorded requests under a name; the first arrives at 0.

    ``notes`` tells what was mended when the trace was read; ``origin`` is what a plan writes to read it again: its
    ``file`` and the options, none for a part of a file or a trace made in memory.
    """

    name: str
    requests: Requests
    notes: tuple[str, ...] = field(default=(), compare=False)
    origin: Mapping[str, object] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not len(self.requests):
            raise InputError("requests", given="no request", expected="at least one")
        if self.requests.arrival[0] != 0:
            given = f"a first arrival at {self.requests.arrival[0]} s"
            raise InputError("requests", given=given, expected="one at 0", remedy="subtract it from all")

    def __len__(self) -> int:
        return len(self.requests)

    def __repr__(self) -> str:
        rate = f" at {self.requests.rate:.3g} request/s" if self.requests.arrival[-1] > 0 else ""
        return f"<trace {self.name}: {len(self)} requests{rate}{''.join(f'; {note}' for note in self.notes)}>"

    @property
    def rate(self) -> Quantity:
        """Mean rate, ``(n - 1) / (last - first)``."""
        return registry.Quantity(self.requests.rate, "request/s")  # type: ignore[no-any-return]

    @property
    def duration(self) -> Quantity:
        """From the first arrival to the last."""
        return registry.Quantity(float(self.requests.arrival[-1]), "s")  # type: ignore[no-any-return]

    @cached_property
    def arrivals(self) -> TraceArrivals:
        """The arrival times, to be replayed."""
        return TraceArrivals(self.requests.arrival)

    @cached_property
    def lengths(self) -> Empirical:
        """The pairs of lengths, each request as likely as any other; their order in time is lost."""
        return Empirical(self.requests.input_tokens, self.requests.output_tokens, name=self.name)

    def head(self, n: int) -> "Trace":
        """The first ``n`` requests (all, where there are fewer)."""
        if n < 1:
            raise InputError("n", given=n, expected="an integer of at least 1")
        return self if n >= len(self) else replace(self, requests=self.requests[:n], origin=None)

    def window(self, start: Duration, end: Duration) -> "Trace":
        """The requests that arrive from ``start`` on and before ``end``; the first of them moves to 0."""
        first, last = (si(Unit("s").read(value, what)) for value, what in ((start, "start"), (end, "end")))
        low, high = np.searchsorted(self.requests.arrival, [first, last])
        if low >= high:
            given = f"{start} to {end}, with no arrival in it"
            raise InputError("window", given=given, expected=f"a part of 0 s to {si(self.duration):.6g} s")
        return replace(self, requests=_from_zero(self.requests[low:high]), origin=None)

    def at(self, rate: Rate) -> "Trace":
        """The same requests in stretched time, at another mean rate."""
        new = spell(Unit("request/s", positive=True).read(rate, "rate"))
        origin = None if self.origin is None else {**self.origin, "rate": new}
        return replace(self, requests=replace(self.requests, arrival=self.arrivals.at(rate).recorded), origin=origin)


def _from_zero(requests: Requests) -> Requests:
    arrival = np.asarray(requests.arrival)
    return replace(requests, arrival=arrival - arrival[0])


# Reading


def read_trace(
    path: str | PathLike[str],
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    arrival_unit: str | None = None,
    hash_block: int | None = None,
    output_tokens: int | None = None,
    turns: str | None = None,
    images: str | None = None,
    benchmark: int | None = None,
    name: str | None = None,
) -> Trace:
    """The trace in a file; its format is recognised by its header unless given.

    - ``format``: one of the table above. For any other CSV file ``columns`` names the column of each of ``arrival``,
      ``input_tokens`` and ``output_tokens``, perhaps of ``priority``, and ``arrival_unit`` the unit of its times ("s",
      "ms", "date").
    - ``arrival_unit``: unit of the times where a file's differ from its format's.
    - ``hash_block``: tokens that one of the ``hash_ids`` stands for; 512 in Mooncake's own traces and 16 in Bailian's
      where not given. A file whose identities do not fit it is refused.
    - ``output_tokens``: tokens of a request whose output is not recorded.
    - ``turns``: what a later turn without a time of its own becomes: ``"first"`` leaves it out, ``"delays"`` lets it
      arrive its delay after the turn before it (sooner than it did, by the time that turn took).
    - ``images``: ``"ignored"`` counts the tokens of requests with images alone.
    - ``benchmark``: which run of a result that holds several, from 0 on.

    Errors: ``FileError`` for a file that is missing, empty, or has a row that is no request;
    ``InputError`` for arguments that do not go together.
    """
    options = Options(
        arrival_unit=arrival_unit,
        hash_block=hash_block,
        output_tokens=output_tokens,
        turns=turns,
        images=images,
        benchmark=benchmark,
    )
    named = options.named_columns(format, columns)
    where = Path(path)
    rows = read_rows(where, benchmark)
    chosen = named or format_of(rows, format)
    requests, notes = read_requests(rows, chosen, options)
    for note in notes:
        warnings.warn(f"{where}: {note}", TraceWarning, stacklevel=2)
    told = {"format": format, "columns": columns, "name": name, **vars(options)}
    origin: dict[str, object] = {"file": str(where.absolute())}
    origin |= {key: value for key, value in told.items() if value is not None}
    return Trace(name=name or where.stem, requests=requests, notes=tuple(notes), origin=origin)
