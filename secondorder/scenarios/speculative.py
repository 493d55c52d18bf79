"""Speculative decoding: a small model drafts, the large one checks the draft in one step.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> serving = Serving(
...     model=models.llama_3_1_70b, accelerator=accelerators.h200, tensor_parallel_size=2,
...     arrivals=Poisson("1 request/s"), lengths=Lengths(input=512, output=256))
>>> speculative = Speculative(serving=serving, draft=models.llama_3_1_8b, gamma=4, acceptance=0.8)
>>> serving.kv_tokens > speculative.kv_tokens     # the draft takes memory
True
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from annotated_types import Ge, Le

from secondorder.arrays import Real
from secondorder.errors import DoesNotFit, InputError
from secondorder.quantities import Checked, pretty
from secondorder.scenarios.engine_memory import rank_weights
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, Roofline, StepSeconds, StepTime
from secondorder.workloads.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Speculative(Checked):
    """A service whose model verifies ``gamma`` tokens at a time, proposed by a smaller ``draft`` model.

    In a round the draft decodes ``gamma`` tokens one after the other, on the same accelerators; the model then
    computes ``gamma + 1`` positions of every sequence in one step, keeps the longest run of accepted tokens and adds
    one of its own.

    - ``serving``: the service, with the large model; its arrivals are the load.
    - ``draft``: small model that proposes tokens (llama_3_1_8b); it must share the large one's vocabulary.
    - ``gamma``: tokens that the draft proposes in a round; 0 is decoding without a draft.
    - ``acceptance``: probability that a proposed token is accepted, each independently of the others (0.8).
    - ``draft_precision``: number format of the draft's weights and arithmetic; the service's if not given.
    - ``draft_step_time``: how long a step of the draft takes ("roofline memory_efficiency=0.8"); as the service's
      roofline if not given.
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` for what is missing, ``DoesNotFit`` where both models leave no room for a cache.
    """

    serving: Serving
    draft: Transformer
    gamma: Annotated[int, Ge(0)] = 4
    acceptance: Annotated[float, Ge(0), Le(1)]
    draft_precision: str | None = None
    draft_step_time: StepTime | None = None
    name: str = "speculative"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draft_step_time is None and not isinstance(self.serving.step_time, Roofline):
            raise InputError(
                "draft_step_time",
                given=f"none with a measured step time ({type(self.serving.step_time).__name__}) of the model",
                expected="the step time of the draft, which does not follow from that of the model",
            )
        if not (self.draft_step_time is None or hasattr(self.draft_step_time, "seconds")):
            expected = "Roofline(), Affine(...) or Table(...)"
            raise InputError("draft_step_time", given=repr(self.draft_step_time), expected=expected)
        if self.draft.vocab != self.serving.model.vocab:
            raise InputError(
                "draft",
                given=f"{self.draft.name} with a vocabulary of {self.draft.vocab}",
                expected=f"the {self.serving.model.vocab} tokens of {self.serving.model.name}",
            )
        self.draft.check_tensor_parallel("serving.tensor_parallel_size", self.serving.tensor_parallel_size)
        self.draft_seconds  # a precision that the part lacks is refused here  # noqa: B018
        self.kv_tokens  # and so are two models that do not fit  # noqa: B018

    @cached_property
    def draft_placement(self) -> Placement:
        """What executes a step of the draft."""
        precision = self.draft_precision or self.serving.precision
        return Placement(
            model=self.draft,
            accelerator=self.serving.accelerator,
            precision=precision,
            kv_precision=precision,
            tensor_parallel_size=self.serving.tensor_parallel_size,
        )

    @cached_property
    def draft_seconds(self) -> StepSeconds:
        """The draft's step time as a function of the batch, see ``steptime``."""
        return (self.draft_step_time or self.serving.step_time).seconds(self.draft_placement)

    @cached_property
    def kv_tokens(self) -> int:
        """Tokens whose cache, of the model and of the draft, fits beside the weights of both."""
        serving = self.serving
        if serving.num_gpu_blocks is not None:
            return serving.kv_tokens
        ranks = serving.tensor_parallel_size
        usable = serving.usable_memory * ranks
        parts = (serving.model, serving.precision), (self.draft, self.draft_placement.precision)
        weights = sum(rank_weights(model, precision, ranks) for model, precision in parts) * ranks
        left = usable - weights - serving.reserved * ranks
        block = (serving.placement.kv_bytes_per_token + self.draft_placement.kv_bytes_per_token) * serving.block_size
        if left < 2 * block:
            raise DoesNotFit(
                f"{serving.model.name} and {self.draft.name}: weights of {pretty(weights, 'byte')} leave no cache in "
                f"{pretty(usable, 'byte')} of {ranks} x {serving.accelerator.name}; use more accelerators "
                "(tensor_parallel_size) or a smaller draft"
            )
        return (int(left // block) - 1) * serving.block_size

    # The steps of a round

    def draft_round(self, batch: Real, context: Real, gamma: int | None = None) -> Real:
        """Seconds in which the draft proposes ``gamma`` tokens of ``batch`` sequences of mean ``context`` tokens."""
        steps, step = range(self.gamma if gamma is None else gamma), self.draft_seconds
        return sum((step(0.0, 0.0, 0.0, batch, batch * (context + k), batch) for k in steps), 0.0 * batch)

    def verification(self, batch: Real, context: Real, gamma: int | None = None) -> Real:
        """Seconds of the model's step over ``gamma + 1`` positions of ``batch`` sequences.

        One position decodes; the others are computed like the tokens of a prompt that attend to the whole context,
        whose cache is read once for all of them.
        """
        more = self.gamma if gamma is None else gamma
        pairs = batch * (more * context + more * (more + 1) / 2)
        step = self.serving.step_seconds
        return step(batch * more, pairs, batch * more, batch, batch * context, batch * (more + 1))

    def round(self, batch: Real, context: Real, gamma: int | None = None) -> Real:
        """Seconds of a whole round: ``draft_round + verification``."""
        return self.draft_round(batch, context, gamma) + self.verification(batch, context, gamma)
