"""How many prompt tokens a step may take beside the decodes: the time to first token against the gaps between tokens.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> serving = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm, max_num_batched_tokens=512,
...     arrivals=Poisson("4 request/s"), lengths=Lengths(input=4096, output=256))
>>> ChunkedPrefill(serving=serving, itl="25 ms").with_budget(1024).max_num_batched_tokens
1024
"""

from dataclasses import dataclass, replace
from typing import Annotated

from secondorder.errors import InputError
from secondorder.quantities import Checked, Quantity, Unit
from secondorder.scenarios.serving import Serving


@dataclass(frozen=True, kw_only=True)
class ChunkedPrefill(Checked):
    """A service that computes prompts in chunks: up to ``max_num_batched_tokens`` in a step, less its decodes.

    - ``serving``: the service; its ``max_num_batched_tokens`` is the budget of a step.
    - ``itl``: longest gap that is allowed between two tokens of a sequence ("30 ms"); the budget that keeps it is
      found.
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` where chunked prefill is not enabled.
    """

    serving: Serving
    itl: Annotated[Quantity | str, Unit("s", positive=True)] | None = None
    name: str = "chunked prefill"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.serving.enable_chunked_prefill:
            raise InputError("serving.enable_chunked_prefill", given=False, expected="true")

    def with_budget(self, tokens: int) -> Serving:
        """The service with another budget, and the cache that it has."""
        return replace(self.serving.pinned, max_num_batched_tokens=tokens)
