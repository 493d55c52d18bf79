"""A recorder that tells a listener which slots have ended, and records only what a client still waits for."""

from collections.abc import Iterable
from typing import Protocol

from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Slot


class Listener(Protocol):
    """What is told of the ends of slots."""

    def expects(self, slot: Slot) -> bool:
        """Whether a client still waits for what a slot brings."""
        ...

    def on_end(self, slot: Slot) -> None:
        """A slot has all its tokens."""

    def on_cancel(self, slot: Slot) -> None:
        """An engine has let a slot go."""


class Ledger(Recorder):
    """The recorder of several replicas with clients that give up and come again."""

    listener: Listener

    def answer(self, slots: Iterable[Slot], now: int) -> None:
        super().answer([slot for slot in slots if self.listener.expects(slot)], now)

    def end(self, slots: Iterable[Slot], now: int) -> None:
        for slot in slots:
            if self.listener.expects(slot):
                super().end([slot], now)
            self.listener.on_end(slot)

    def cancel(self, slot: Slot, now: int) -> None:
        super().cancel(slot, now)
        self.listener.on_cancel(slot)

    def forget(self, index: int) -> None:
        """A request starts from nothing again."""
        self.scheduled[index] = self.first_token[index] = -1
