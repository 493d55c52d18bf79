"""Clients that wait for their answers: users who ask for ever, and sessions of several turns.

>>> str(Users(count=32, think="10 s")), str(Sessions(turns=5, think="20 s"))
('users 32 think=10 s', 'sessions 5 think=20 s')
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias

from annotated_types import Ge

from secondorder.quantities import Count, Duration
from secondorder.spelling import Spelled


@dataclass(frozen=True, kw_only=True)
class Users(Spelled):
    """A closed loop: each of ``count`` users sends the next request a think time after the end of the last one.

    The arrivals of the service do not count. With a think time of 0 s it is a limit of ``count`` requests at a time, as
    of vLLM's load generator ("--max-concurrency").

    - ``count``: users.
    - ``think``: mean time from an answer to the same user's next request, exponential.
    """

    word: ClassVar[str] = "users"
    count: Count
    think: Duration = "0 s"


@dataclass(frozen=True, kw_only=True)
class Sessions(Spelled):
    """Conversations: a turn comes a think time after the end of the one before, and its prompt begins with all of it.

    The number of turns is geometric. The lengths are those of what a turn adds: its prompt is the one before, the
    answer to it, and the new tokens. A turn that the context or a cache has no room for begins without what came
    before. Arrivals are those of all turns together: sessions begin at ``1 / turns`` of their rate.

    - ``turns``: mean turns of a session.
    - ``think``: mean time from an answer to the next turn, exponential.
    """

    word: ClassVar[str] = "sessions"
    turns: Annotated[float, Ge(1)] = 5.0
    think: Duration = "10 s"


Clients: TypeAlias = Users | Sessions
