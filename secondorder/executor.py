"""The only place that shares work: among processes or threads of this machine, or the workers of a cluster."""

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from secondorder.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Future
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")

CHECK = 0.5
"""Seconds between two looks of a worker at whether its parent still runs."""
LOSSES = 5
"""Losses of workers in succession, without a result between them, that end the work."""
REACH = "10s"
"""Time within which the scheduler of a cluster must answer."""

TRACKER = "joblib.externals.loky.backend.resource_tracker"
"""Process that cleans up after workers; it need not say so after an interrupt."""


def run_each(
    action: Callable[[Item], Result], items: Collection[Item], jobs: int = 1, *, threads: bool = False
) -> Iterator[Result]:
    """``action`` of each item as the results come, in the order of the items, by ``jobs`` processes.

    There are never more processes than items, or than cores. They end when the parent ends, however it ends. What a
    lost worker was doing is done again. With ``threads`` they are threads instead, which start at once and share what
    is compiled: for an ``action`` of compiled code, which lets others run. Errors: ``InputError`` for less than one
    process, or where workers are lost again and again; those of ``action``.

    >>> list(run_each(lambda k: k * k, range(4), jobs=2))
    [0, 1, 4, 9]
    """
    jobs = _processes(jobs, len(items))
    if jobs <= 1:
        return map(action, items)
    if threads:
        return _in_threads(action, items, jobs)
    return (result for _, result in _in_processes(action, list(items), jobs, "generator"))


def as_they_come(
    action: Callable[[Item], Result], items: Collection[Item], jobs: int = 1, cluster: str | None = None
) -> Iterator[tuple[int, Result]]:
    """``action`` of each item in the order in which they finish, each with the place of its item.

    ``cluster``: address of a dask scheduler, ``tcp://host:8786``, whose workers then do the work. Results do not depend
    on where they come from. Errors: as ``run_each``; ``InputError`` for a cluster that does not answer.

    >>> sorted(as_they_come(lambda k: k * k, [3, 5], jobs=2))
    [(0, 9), (1, 25)]
    """
    jobs = _processes(jobs, len(items))
    if cluster is not None:
        return _on_cluster(action, list(items), cluster)
    if jobs <= 1:
        return ((place, action(item)) for place, item in enumerate(items))
    return _in_processes(action, list(items), jobs, "generator_unordered")


def _processes(jobs: int, items: int) -> int:
    if jobs < 1:
        raise InputError("jobs", given=jobs, expected="at least 1 process")
    return min(jobs, items, os.cpu_count() or 1)


# Threads


def _in_threads(action: Callable[[Item], Result], items: Collection[Item], jobs: int) -> Iterator[Result]:
    """No more results wait than there are threads; an error, or an end, ends those begun and starts no further ones."""
    from concurrent.futures import ThreadPoolExecutor

    ended = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_in_thread, action, item, ended))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            ended.set()
            for each in waiting:
                each.cancel()


_OWN = threading.local()


class Ended(Exception):
    """Nobody waits for what this thread does."""


def _in_thread(action: Callable[[Item], Result], item: Item, ended: threading.Event) -> Result:
    _OWN.ended = ended
    return action(item)


def check_wanted() -> None:
    """Raise ``Ended`` in a thread of ``run_each`` after an interrupt or an error: long runs ask between their parts."""
    ended: threading.Event | None = getattr(_OWN, "ended", None)
    if ended is not None and ended.is_set():
        raise Ended


# Processes of this machine


def _in_processes(
    action: Callable[[Item], Result], items: Sequence[Item], jobs: int, order: str
) -> Iterator[tuple[int, Result]]:
    """Results with their places; after the loss of a worker, what is left starts again in new ones."""
    import warnings

    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    warnings.filterwarnings("ignore", message=".*still being processed", category=UserWarning)  # after an interrupt
    os.environ.setdefault("PYTHONWARNINGS", f"ignore::UserWarning:{TRACKER}")

    task = delayed(partial(_in_worker, action, os.getpid()))
    left = dict(enumerate(items))
    losses = 0
    while left:
        with _interrupts_held():
            found = Parallel(n_jobs=jobs, return_as=order)([task(place, item) for place, item in left.items()])
        try:
            for place, result in found:
                del left[place]
                losses = 0
                yield place, result
        except BrokenProcessPool:
            losses += 1
            if losses == LOSSES:
                given = f"workers that were killed {LOSSES} times in succession"
                remedy = "take fewer of them if the memory is short"
                raise InputError("jobs", given=given, expected="workers that keep running", remedy=remedy) from None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers start: they start with it blocked, so that only this process answers to it."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its own start would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_worker(action: Callable[[Item], Result], parent: int, place: int, item: Item) -> tuple[int, Result]:
    if os.getpid() != parent:
        _end_with(parent)
    return place, action(item)


@cache
def _end_with(parent: int) -> None:
    """End this worker soon after its parent has ended."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK)
    os._exit(1)


# One process beside this one


def beside(action: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """The function, done by one process beside this one, which starts now and ends when this one ends.

    Calls from several threads wait for each other. Errors: those of ``action``; ``EOFError`` if the process is lost.

    >>> beside(abs)(-3)
    3
    """
    from multiprocessing import Pipe, Process

    here, there = Pipe()
    Process(target=_answer, args=(action, there, os.getpid()), daemon=True).start()
    there.close()
    asking = threading.Lock()

    def asked(item: Item) -> Result:
        with asking:
            here.send(item)
            error, result = here.recv()
        if error is not None:
            raise error
        answer: Result = result
        return answer

    return asked


def _answer(action: Callable[[Any], object], asked: "Connection", parent: int) -> None:
    """Answer one question after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers to Ctrl-C
    _end_with(parent)
    while True:
        item = asked.recv()
        try:
            answer: tuple[Exception | None, object] = (None, action(item))
        except Exception as error:
            answer = (error, None)
        asked.send(answer)


# A cluster


def _on_cluster(action: Callable[[Item], Result], items: Sequence[Item], address: str) -> Iterator[tuple[int, Result]]:
    """Results from the workers of a dask scheduler; it sends what a lost worker was doing to another."""
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed
    except ImportError:
        remedy = 'python -m pip install "secondorder[cluster]"'
        raise InputError("cluster", given=address, expected="dask.distributed installed", remedy=remedy) from None
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what it has to say of a loss is in our error
    for name in ("asyncio", "tornado.application"):
        logging.getLogger(name).addFilter(of_ours)  # and what its tasks leave behind
    try:
        client = Client(address, timeout=REACH, set_as_default=False)
    except (OSError, ValueError):
        expected = "the address of a dask scheduler that runs, such as tcp://localhost:8786"
        raise InputError("cluster", given=address, expected=expected) from None
    with client:
        places = client.map(partial(_placed, action), range(len(items)), items, pure=False, retries=LOSSES)
        try:
            for future, result in as_completed(places, loop=client.loop, with_results=True):
                if future.status != "finished":
                    raise OSError  # the scheduler is gone
                yield result
        except (CancelledError, KilledWorker, OSError):
            expected = "a scheduler and workers that keep running"
            raise InputError("cluster", given=f"{address}, which was lost", expected=expected) from None


def of_ours(record: logging.LogRecord) -> bool:
    """Whether a line of the log is not of an error that dask.distributed raised."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not kind.__module__.startswith("distributed")


def _placed(action: Callable[[Item], Result], place: int, item: Item) -> tuple[int, Result]:
    return place, action(item)
