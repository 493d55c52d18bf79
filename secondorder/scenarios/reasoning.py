"""A question that a language model answers by thinking aloud, once or several times.

>>> reasoning = Reasoning(
...     strategy="best_of", samples=8, length="geometric 1024", prompt_tokens=512, prefill="50 ms",
...     token_time="10 ms", success=0.4)
>>> reasoning.answer, reasoning.samples
(Geometric(mean=1024.0, maximum=None), 8)
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Gt, Le

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked, Count, Duration, Quantity, Unit
from secondorder.workloads.lengths import Fixed, Geometric, LogNormal, Marginal, Uniform, read_marginal

Strategy = Literal["best_of", "majority", "until_success"]
TokenPrice = Annotated[Quantity | str, Unit("USD/token")]


@dataclass(frozen=True, kw_only=True)
class Reasoning(Checked):
    """Up to ``samples`` answers to one question: at once, or one after the other until one is right.

    Answers are independent, and whether one is right does not depend on its length. The prompt is read once and kept.

    - ``strategy``: all answers at once and a verifier finds a right one (best_of), all at once and the most frequent
      wins (majority), or one after the other until a verifier finds one right (until_success).
    - ``samples``: answers; at most this many with until_success.
    - ``length``: tokens of one answer, its thoughts included, or their law (2000, "geometric 1024", "lognormal 2000
      cv=1").
    - ``prompt_tokens``: tokens of the question.
    - ``prefill``: time until the prompt is read ("50 ms").
    - ``token_time``: time of one output token while this many answers are made together ("10 ms").
    - ``success``: probability that one answer is right, above 0.
    - ``wrong_answers``: number of different wrong answers, all equally likely; for majority only.
    - ``input_price``: price of a prompt token ("3e-6 USD/token"); both prices or none.
    - ``output_price``: price of an output token ("15e-6 USD/token"); both prices or none.
    - ``name``: name of the scenario in results.

    Of a ``majority`` ties are broken by lot.

    Errors: ``InputError`` for contradictory values.
    """

    strategy: Strategy
    samples: Count
    length: Marginal | str | int
    prompt_tokens: Count
    prefill: Duration
    token_time: Annotated[Quantity | str, Unit("s", positive=True)]
    success: Annotated[float, Gt(0), Le(1)]
    wrong_answers: Annotated[int, Ge(1)] | None = None
    input_price: TokenPrice | None = None
    output_price: TokenPrice | None = None
    name: str = "reasoning"

    def __post_init__(self) -> None:
        if isinstance(self.length, str):
            object.__setattr__(self, "length", read_marginal(self.length))
        elif isinstance(self.length, int) and not isinstance(self.length, bool):
            object.__setattr__(self, "length", read_marginal(str(self.length)))
        super().__post_init__()
        if not isinstance(self.length, Fixed | Uniform | Geometric | LogNormal):
            raise InputError("length", given=repr(self.length), expected='a number of tokens, or "geometric 1024"')
        if self.strategy not in get_args(Strategy):
            raise UnknownName.among("strategy", self.strategy, get_args(Strategy))
        if (self.strategy == "majority") != (self.wrong_answers is not None):
            majority = self.strategy == "majority"
            given = "nothing" if majority else f"{self.wrong_answers} with {self.strategy}"
            expected = "an integer, as the strategy is majority" if majority else "none: they are for majority only"
            raise InputError("wrong_answers", given=given, expected=expected)
        if (self.input_price is None) != (self.output_price is None):
            missing = "input_price" if self.input_price is None else "output_price"
            raise InputError(missing, given="none", expected="both prices or none")

    @property
    def answer(self) -> Marginal:
        """The law of one answer's length."""
        assert not isinstance(self.length, str | int)
        return self.length

    @property
    def at_once(self) -> bool:
        """Whether all answers are made together."""
        return self.strategy != "until_success"
