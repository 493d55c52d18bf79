"""The slots in step, as a heap by the step in which each finishes."""

from secondorder.simulate.kernels.compilation import inlined
from secondorder.simulate.kernels.serving.state import State


@inlined
def put(state: State, place: int, k: int) -> None:
    state.entries[place].heap = k
    state.slots[k].place = place


@inlined
def rise(state: State, place: int, k: int) -> int:
    """Find a slot's place between here and the root; slots above it move down."""
    last = state.slots[k].last
    while place > 0:
        above = (place - 1) // 2
        other = state.entries[above].heap
        if state.slots[other].last <= last:
            break
        put(state, place, other)
        place = above
    return place


@inlined
def sink(state: State, place: int, k: int) -> int:
    """Find a slot's place between here and the leaves; slots below it move up."""
    last, count = state.slots[k].last, state.engine[0].finishes
    while 2 * place + 1 < count:
        below = 2 * place + 1
        if (
            below + 1 < count
            and state.slots[state.entries[below + 1].heap].last < state.slots[state.entries[below].heap].last
        ):
            below += 1
        other = state.entries[below].heap
        if state.slots[other].last >= last:
            break
        put(state, place, other)
        place = below
    return place


@inlined
def push(state: State, k: int) -> None:
    e = state.engine[0]
    e.finishes += 1
    put(state, rise(state, e.finishes - 1, k), k)


@inlined
def remove(state: State, k: int) -> None:
    e, place = state.engine[0], state.slots[k].place
    e.finishes -= 1
    if place == e.finishes:
        return
    moved = state.entries[e.finishes].heap
    put(state, sink(state, rise(state, place, moved), moved), moved)
