"""The serving engine once more, as plainly as possible: a witness that shares no code with the one it checks.

One step after another, nothing kept incrementally: reference counts, free blocks and what a
step processes are found by looking at all requests and all blocks each time.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from sys import maxsize
from typing import NamedTuple

PICO = 10**12


class Ask(NamedTuple):
    """One request: its arrival in picoseconds, its lengths, identities of its first full blocks.

    The lower the ``priority``, the more urgent; ``gives_up`` is a time in picoseconds.
    """

    arrival: int
    prompt: int
    output: int
    prefix: tuple[Hashable, ...] = ()
    priority: int = 0
    gives_up: int = maxsize


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the engine; ``usable`` blocks do not include the null block."""

    usable: int
    block_size: int
    max_num_seqs: int
    max_num_batched_tokens: int
    long_prefill_token_threshold: int | None = None
    chunked_prefill: bool = True
    prefix_caching: bool = False
    async_scheduling: bool = False
    urgent_first: bool = False
    whole_length: bool = True
    unnamed_first: bool = False
    cap_alone: bool = True
    adaptive: bool = False
    kept: int = 0
    smallest_volume_first: bool = False
    peak_reserved: bool = False
    look_ahead: bool = False
    keeps_output: bool = True


@dataclass(eq=False)
class Job:
    """A request as the engine sees it, and what became of it."""

    index: int
    ask: Ask
    computed: int = 0
    emitted: int = 0
    delivered: int = 0
    blocks: list[int] = field(default_factory=list)
    scheduled: int | None = None
    first_token: int | None = None
    finish: int | None = None
    preemptions: int = 0
    cached: int | None = None
    cancelled: int | None = None

    @property
    def urgency(self) -> tuple[int, int, int]:
        return self.ask.priority, self.ask.arrival, self.index

    @property
    def volume(self) -> tuple[int, int, int]:
        """Tokens held, over all steps of its life."""
        held = sum(self.ask.prompt + step for step in range(1, self.ask.output + 1))
        return held, self.ask.arrival, self.index

    @property
    def needed(self) -> int:
        return self.ask.prompt + self.emitted

    @property
    def known(self) -> int:
        """Tokens whose value is known: all but the one that the step under way brings out."""
        return self.ask.prompt + self.delivered

    @property
    def done(self) -> bool:
        return self.emitted == self.ask.output

    def identity(self, i: int) -> Hashable:
        return self.ask.prefix[i] if i < len(self.ask.prefix) else ("own", self.index, i)


class Piece(NamedTuple):
    """``n`` tokens of a request after ``c`` computed ones."""

    job: Job
    c: int
    n: int
    total: int
    decode: bool

    @property
    def ends(self) -> bool:
        return self.c + self.n == self.total


class Blocks:
    """The cache: which blocks are free, oldest first, and what the cached ones hold."""

    def __init__(self, settings: Settings, jobs: list[Job]):
        self.settings, self.jobs = settings, jobs
        self.free = list(range(settings.usable))
        self.registered: list[tuple[Hashable, int]] = []

    def tokens(self, count: int) -> int:
        """Blocks that so many tokens take."""
        return -(-count // self.settings.block_size)

    def used(self, block: int) -> bool:
        return any(block in job.blocks for job in self.jobs)

    def hits(self, job: Job) -> list[int]:
        """Longest chain of cached blocks from the first on that leaves a token to compute."""
        chain: list[int] = []
        while (len(chain) + 1) * self.settings.block_size <= job.needed - 1:
            wanted = job.identity(len(chain))
            found = [block for identity, block in self.registered if identity == wanted]
            if not found:
                break
            chain.append(found[0])
        return chain

    def take(self, job: Job, block: int) -> None:
        """A cached block for one more request."""
        if block in self.free:
            self.free.remove(block)
        job.blocks.append(block)

    def allocate(self, job: Job) -> None:
        """The block that was freed longest ago; what it held is forgotten."""
        block = self.free.pop(0)
        self.registered = [entry for entry in self.registered if entry[1] != block]
        job.blocks.append(block)

    def register(self, job: Job, tokens: int) -> None:
        """Blocks that so many computed tokens fill can be hit from now on, as far as the tokens are known."""
        if self.settings.prefix_caching:
            for i in range(min(tokens, job.known) // self.settings.block_size):
                if job.blocks[i] not in [block for _, block in self.registered]:
                    self.registered.append((job.identity(i), job.blocks[i]))

    def release(self, job: Job) -> None:
        """The last block first, so that it is evicted first."""
        while job.blocks:
            block = job.blocks.pop()
            if self.used(block):
                continue
            if self.settings.unnamed_first and block not in [named for _, named in self.registered]:
                self.free.insert(0, block)
            else:
                self.free.append(block)

    def check(self) -> None:
        """Each block is free or in use, never both and never lost; nobody shares without prefix caching."""
        held = [block for job in self.jobs for block in job.blocks]
        assert len(set(self.free)) == len(self.free)
        assert set(held).isdisjoint(self.free)
        assert len(self.free) + len(set(held)) == self.settings.usable
        if not self.settings.prefix_caching:
            assert len(set(held)) == len(held)
        cached = [block for _, block in self.registered]
        assert len(set(cached)) == len(cached)
        for job in self.jobs:
            assert len(set(job.blocks)) == len(job.blocks)
            assert len(job.blocks) == self.tokens(job.computed)


class NaiveEngine:
    """Runs requests, given in order of arrival, to their end."""

    def __init__(self, settings: Settings, asks: list[Ask], seconds: Callable[..., float]):
        self.settings, self.seconds = settings, seconds
        self.jobs = [Job(index, ask) for index, ask in enumerate(asks)]
        self.arriving = list(self.jobs)
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.blocks = Blocks(settings, self.jobs)
        self.now = 0
        self.steps = 0
        self.threshold = maxsize

    def run(self) -> list[Job]:
        step: list[Piece] = []
        while self.arriving or self.waiting or self.running or step:
            self.arrive()
            self.give_up()
            step = step or self.schedule()
            if not step:
                assert not self.waiting
                assert not self.running
                if not self.arriving:
                    break
                self.now = self.arriving[0].ask.arrival
                continue
            for piece in step:
                if piece.job.scheduled is None:
                    piece.job.scheduled = self.now
            following = self.schedule(beside=True) if self.settings.async_scheduling else []
            self.now += self.duration(step)
            self.steps += 1
            self.emit(step, following)
            step = following
        return self.jobs

    def arrive(self) -> None:
        while self.arriving and self.arriving[0].ask.arrival <= self.now:
            self.waiting.append(self.arriving.pop(0))
        self.order()

    def order(self) -> None:
        if self.settings.urgent_first:
            self.waiting.sort(key=lambda job: job.urgency)
        if self.settings.smallest_volume_first:
            self.waiting.sort(key=lambda job: job.volume)

    def give_up(self) -> None:
        for job in [job for job in self.waiting + self.running if job.ask.gives_up <= self.now]:
            (self.waiting if job in self.waiting else self.running).remove(job)
            self.blocks.release(job)
            job.computed, job.cancelled = 0, self.now

    def schedule(self, beside: bool = False) -> list[Piece]:
        """A step, whose tokens from then on count as computed and whose outputs as emitted.

        ``beside`` a step that is under way nothing is tried twice.
        """
        step, preempted = self.continue_running()
        while preempted and not step and not beside:  # the first in order was its own victim
            step, preempted = self.continue_running()
        if not preempted:
            step += self.admit(step)
        for piece in step:
            piece.job.computed += piece.n
            piece.job.emitted += piece.ends
        self.check(step)
        return step

    def continue_running(self) -> tuple[list[Piece], bool]:
        step: list[Piece] = []
        preempted = False
        self.threshold = self.limit()
        for job in list(self.running):
            budget = self.settings.max_num_batched_tokens - sum(piece.n for piece in step)
            if budget == 0:
                break
            if job.done or job not in self.running:
                continue
            n = min(job.needed - job.computed, self.threshold, budget)
            while self.lacking(job, n) > len(self.blocks.free) and job in self.running:
                victim = (
                    max(self.running, key=lambda job: job.urgency) if self.settings.urgent_first else self.running[-1]
                )
                step = [piece for piece in step if piece.job is not victim]
                self.preempt(victim)
                preempted = True
            if job not in self.running:
                break
            step.append(self.piece(job, n))
        return step, preempted

    def victim(self) -> Job:
        return max(self.running, key=lambda job: job.urgency) if self.settings.urgent_first else self.running[-1]

    def preempt(self, victim: Job) -> None:
        self.running.remove(victim)
        self.blocks.release(victim)
        victim.computed = 0
        victim.preemptions += 1
        if not victim.done:  # else its last token is in the step under way
            if not self.settings.keeps_output:
                victim.emitted = victim.delivered = 0
            self.waiting.insert(0, victim)
            self.order()

    def has_room(self, job: Job, step: list[Piece]) -> bool:
        """Whether it and those that run fit in the cache, step by step until the last of them ends."""
        given = {piece.job: piece.n for piece in step}
        ends = [ask.prompt + ask.output - 1 for ask in [job.ask, *(each.ask for each in self.running)]]
        if self.settings.peak_reserved:
            return sum(map(self.blocks.tokens, ends)) <= self.settings.usable
        held = [job.needed, *(max(each.computed + given.get(each, 0), each.ask.prompt) for each in self.running)]
        for later in range(max(ends)):
            alive = [now + later for now, end in zip(held, ends, strict=True) if now + later <= end]
            if sum(map(self.blocks.tokens, alive)) > self.settings.usable:
                return False
        return True

    def admit(self, before: list[Piece]) -> list[Piece]:
        step: list[Piece] = []
        budget = self.settings.max_num_batched_tokens - sum(piece.n for piece in before)
        while self.waiting and budget > 0 and len(self.running) < self.settings.max_num_seqs:
            job = self.waiting[0]
            hits = self.blocks.hits(job)
            hit_tokens = len(hits) * self.settings.block_size
            n = min(job.needed - hit_tokens, self.threshold)
            if n > budget and not self.settings.chunked_prefill:
                break
            n = min(n, budget)
            fresh = self.blocks.tokens(job.needed if self.settings.whole_length else hit_tokens + n) - len(hits)
            kept = self.settings.kept if self.running else 0
            if fresh + sum(block in self.blocks.free for block in hits) + kept > len(self.blocks.free):
                break
            rules = self.settings.peak_reserved or self.settings.look_ahead
            if rules and not self.has_room(job, before + step):
                break
            self.running.append(self.waiting.pop(0))
            for block in hits:
                self.blocks.take(job, block)
            job.computed = hit_tokens
            if job.cached is None:
                job.cached = hit_tokens
            step.append(self.piece(job, n))
            budget -= n
        return step

    def piece(self, job: Job, n: int) -> Piece:
        """``n`` tokens of a request, for which there is room."""
        for _ in range(self.lacking(job, n)):
            self.blocks.allocate(job)
        self.blocks.register(job, job.computed + n)
        decode = job.emitted > 0 and job.needed - job.computed == 1
        return Piece(job, job.computed, n, job.needed, decode)

    def lacking(self, job: Job, n: int) -> int:
        return self.blocks.tokens(job.computed + n) - len(job.blocks)

    def limit(self) -> int:
        """Tokens that a step may take of one prompt."""
        requests, threshold = len(self.running + self.waiting), self.settings.long_prefill_token_threshold
        if threshold is None or (requests <= 1 and not self.settings.cap_alone):
            return maxsize
        if self.settings.adaptive:
            return max(threshold, self.settings.max_num_batched_tokens // max(requests, 1))
        return threshold

    def duration(self, step: list[Piece]) -> int:
        prefills = [piece for piece in step if not piece.decode]
        decodes = [piece for piece in step if piece.decode]
        return round(
            self.seconds(
                sum(piece.n for piece in prefills),
                sum(piece.n * piece.c + piece.n * (piece.n + 1) // 2 for piece in prefills),
                sum(piece.c + piece.n for piece in prefills),
                len(decodes),
                sum(piece.total for piece in decodes),
                len(decodes) + sum(piece.ends for piece in prefills),
            )
            * PICO
        )

    def emit(self, step: list[Piece], following: list[Piece]) -> None:
        """Tokens come out at the end of the step; who has all of them leaves, in order of admission."""
        for piece in step:
            piece.job.delivered += piece.ends
            if piece.ends and piece.job in self.running:
                under_way = sum(later.n for later in following if later.job is piece.job)
                self.blocks.register(piece.job, piece.job.computed - under_way)
        for piece in step:
            if piece.ends and piece.job.first_token is None and piece.job.cancelled is None:
                piece.job.first_token = self.now
        ended = [piece.job for piece in step if piece.ends and piece.total + 1 == sum(piece.job.ask[1:3])]
        finished = [job for job in ended if job.cancelled is None]
        for job in finished:
            assert job.finish is None
            job.finish = self.now
        for job in [job for job in self.running if job in finished]:
            self.running.remove(job)
            self.blocks.release(job)
            job.computed = 0

    def check(self, step: list[Piece]) -> None:
        assert sum(piece.n for piece in step) <= self.settings.max_num_batched_tokens
        assert len(self.running) <= self.settings.max_num_seqs
        assert all(0 < piece.n <= self.threshold for piece in step)
        assert len({piece.job for piece in step}) == len(step)
        assert not any(job.finish is not None for job in self.running + self.waiting)
        assert not any(job.blocks for job in self.waiting + self.arriving)
        self.blocks.check()
