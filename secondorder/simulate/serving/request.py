"""What a client asks for, and how far a replica is with it."""

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ask:
    """One request as its client sends it; nothing that a replica does changes it.

    - ``index``: place in the record of the run.
    - ``prompt``, ``output``: tokens.
    - ``arrival``: time in picoseconds.
    - ``prefix``: identity of each leading full block of the prompt, all before it included; equal ones can be shared.
    - ``priority``: urgency, the lower the more urgent; used by ``policies.MostUrgent`` alone.
    - ``session``: the conversation that it is a turn of, if it is of one.
    """

    index: int
    prompt: int
    output: int
    arrival: int = 0
    prefix: tuple[Hashable, ...] = ()
    priority: int = 0
    session: int | None = None


@dataclass(slots=True, eq=False)
class Slot:
    """An ``Ask`` at one replica, and how far it is there.

    A request that is moved or retried gets another slot, at another replica or at the same. ``emitted`` tokens that
    it brings along are computed again as if they were prompt; ``emitted`` counts those of steps already scheduled.
    """

    ask: Ask
    emitted: int = 0
    computed: int = 0
    held: int = 0
    blocks: list[int] = field(default_factory=list)
    admission: int = -1
    """Order of admission; a new one after each preemption."""
    joined: int = -1
    """The step since which it is in step with the others; -1: it is apart."""
    chunked: bool = False
    """Whether its last step left some of its prompt, or of what is computed again, for later."""
    cached: int = 0
    preemptions: int = 0
    left: int = 0
    """When it left the line for blocks of a lower tier, in ps."""
    fetch: int = 0
    """How long it was away for such blocks, in ps."""
    below: tuple[tuple[str, int], ...] = ()
    """Tokens that each lower tier had for it when it was first admitted."""
    cancelled: bool = False

    @property
    def length(self) -> int:
        """Tokens to compute before the next one comes out."""
        return self.ask.prompt + self.emitted

    @property
    def done(self) -> bool:
        """Whether the step that brings out the last token is scheduled."""
        return self.emitted >= self.ask.output

    def identity(self, index: int) -> Hashable:
        """What the block at this place holds; past the prefix nobody else's block can be equal."""
        prefix = self.ask.prefix
        return prefix[index] if index < len(prefix) else (self, index)
