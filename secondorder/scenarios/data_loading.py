"""Feeding an accelerator: storage, workers that decode, a buffer of batches made ready, and the step that eats them.

>>> loading = DataLoading(
...     batch_size=256, sample_size="110 kB", storage_bandwidth="2 GB/s", workers=8, decode="exponential 300 ms",
...     prefetch=4, step="exponential 50 ms")
>>> round(loading.read_seconds, 6), round(loading.loader_rate, 4), loading.bottleneck
(0.01408, 25.4712, 'step')
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from secondorder.errors import InputError
from secondorder.laws import Deterministic, Service, Time, Timed
from secondorder.quantities import Bandwidth, Count, DataSize, si

Part = Literal["storage", "workers", "step"]


@dataclass(frozen=True, kw_only=True)
class DataLoading(Timed):
    """A data loader before an accelerator: each of the ``workers`` makes whole batches, one after the other.

    A worker has its batch read (reads take turns at the storage, in the order in which they are asked for), decodes
    it, and puts it into the buffer. Where the buffer is full it holds the batch and does nothing until there is room.
    The accelerator takes the batches in the order in which they are put; where there is none it starves.

    - ``batch_size``: samples of a batch.
    - ``sample_size``: bytes that the storage reads for one sample ("110 kB"); "0 byte" where the data lies in memory.
    - ``storage_bandwidth``: bandwidth of the storage to this loader, all its workers together ("2 GB/s").
    - ``workers``: processes that read and decode.
    - ``decode``: time in which one worker decodes and augments a whole batch, or its law ("lognormal 300 ms scv=1").
    - ``prefetch``: batches that the buffer holds, without those that workers hold or the accelerator uses.
    - ``step``: time of the accelerator's step, or its law ("50 ms", "exponential 50 ms").
    - ``storage_jitter``: law of a factor of mean 1 on each read ("exponential"); constant if not given.
    - ``name``: name of the scenario in results.

    Batches are put in the order in which they are ready. A loader that hands them out in the order in which they were
    begun (PyTorch's, by default) waits longer for a late one.

    Errors: ``InputError`` for missing or contradictory values.
    """

    _times = ("decode", "step")
    _shapes = ("storage_jitter",)
    batch_size: Count
    sample_size: DataSize
    storage_bandwidth: Bandwidth
    workers: Annotated[int, Ge(1), Le(1_000_000)]
    decode: Time
    prefetch: Count
    step: Time
    storage_jitter: Service | str | None = None
    name: str = "data loading"

    def __post_init__(self) -> None:
        super().__post_init__()
        jitter = self.storage_jitter
        if isinstance(jitter, Service) and abs(jitter.moment(1) - 1) > 1e-9:
            given = f"a law of mean {jitter.moment(1):.6g} s"
            raise InputError("storage_jitter", given=given, expected="a law of mean 1 s, which is taken as a factor")

    @property
    def read_seconds(self) -> float:
        """Mean time in s in which the storage reads a batch."""
        return self.batch_size * si(self.sample_size) / si(self.storage_bandwidth)

    @property
    def read(self) -> Service | None:
        """The law of a read; none where nothing is read."""
        if self.read_seconds == 0:
            return None
        mean = f"{self.read_seconds!r} s"
        return Deterministic(mean) if self.storage_jitter is None else self.law("storage_jitter").at(mean)

    @property
    def rates(self) -> dict[Part, float]:
        """What each part could do alone, in batches a second; without the storage where nothing is read.

        A worker is busy with a batch, or waits for its read, for at least ``read + decode``.
        """
        read, decode, step = self.read_seconds, self.law("decode").moment(1), self.law("step").moment(1)
        storage: dict[Part, float] = {"storage": 1 / read} if read else {}
        return {**storage, "workers": self.workers / (read + decode), "step": 1 / step}

    @property
    def loader_rate(self) -> float:
        """Batches a second that storage and workers could make at most, were none ever held up by chance."""
        return min(rate for part, rate in self.rates.items() if part != "step")

    @property
    def bottleneck(self) -> Part:
        """The part that alone would be the slowest."""
        rates = self.rates
        return min(rates, key=rates.__getitem__)
