"""A budget of compute for training one model: how large the model is to be, on how many tokens.

>>> law = ScalingLaw(compute="5.76e23 FLOP")
>>> law.fitted.alpha, law.fitted.tokens_error
(0.3478, 1293.23)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked, ComputeRate, Count, Efficiency, Quantity, Unit, si
from secondorder.zoo import Source

Errors = Literal["pivoted", "independent"]

FLOPS_OF_TRAINING, FLOPS_OF_INFERENCE = 6.0, 2.0
"""FLOP for each parameter and token: forward and backward pass, and forward alone (Kaplan et al. 2020, section 2.1)."""

PIVOT_PARAMETERS = math.sqrt(5.73e7 * 1.618e10)
PIVOT_TOKENS = math.sqrt(2.451e8 * 3.178e11)
"""Geometric middle of the model sizes and tokens of the experiments that Besiroglu et al. 2024 fit."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """``loss = E + A / N^alpha + B / D^beta`` in nat, for ``N`` parameters and ``D`` tokens, with standard errors.

    Errors of 0 stand for none published.
    """

    irreducible: float
    parameters: float
    tokens: float
    alpha: float
    beta: float
    irreducible_error: float = 0.0
    parameters_error: float = 0.0
    tokens_error: float = 0.0
    alpha_error: float = 0.0
    beta_error: float = 0.0
    source: Source


FITS: Mapping[str, Fit] = {
    "besiroglu_2024": Fit(
        irreducible=1.8172,
        parameters=482.01,
        tokens=2085.43,
        alpha=0.3478,
        beta=0.3658,
        irreducible_error=0.03,
        parameters_error=124.58,
        tokens_error=1293.23,
        alpha_error=0.02,
        beta_error=0.02,
        source=Source(
            title="Besiroglu et al., Chinchilla scaling: a replication attempt, table 1",
            date="2024-05-24",
            url="https://arxiv.org/abs/2404.10102",
        ),
    ),
    "hoffmann_2022": Fit(
        irreducible=1.69,
        parameters=406.4,
        tokens=410.7,
        alpha=0.34,
        beta=0.28,
        source=Source(
            title="Hoffmann et al., Training compute-optimal large language models, equation 10",
            date="2022-03-29",
            url="https://arxiv.org/abs/2203.15556",
            note="rounded: the exponents are 0.3392 and 0.2849 in its TeX",
        ),
    ),
    "hoffmann_2022_unrounded": Fit(
        irreducible=1.6934,
        parameters=406.4,
        tokens=410.7,
        alpha=0.3392,
        beta=0.2849,
        source=Source(
            title="Hoffmann et al. 2022, its TeX, as given by Besiroglu et al. 2024",
            date="2024-05-24",
            url="https://arxiv.org/abs/2404.10102",
        ),
    ),
}
"""Fits of the parametric loss by name."""


@dataclass(frozen=True, kw_only=True)
class ScalingLaw(Checked):
    """The best use of ``compute`` for training one dense language model.

    - ``compute``: floating-point operations of the training run ("5.76e23 FLOP").
    - ``fit``: constants of the parametric loss: besiroglu_2024, hoffmann_2022 or hoffmann_2022_unrounded.
    - ``errors``: how the published errors of the constants are read: as errors of curves that are known
      near the experiments (pivoted), or each constant by itself, which is far too wide (independent).
    - ``inference_tokens``: tokens that the model will process after its training ("2e12 token").
    - ``accelerators``: accelerators that train; with peak and mfu.
    - ``peak``: peak rate of one accelerator ("989 TFLOP/s"); with accelerators and mfu.
    - ``mfu``: share of the peak that the model's own FLOPs reach; with accelerators and peak.
    - ``price``: price of one accelerator ("2 USD/hour"), for the cost of the training; with accelerators, peak and mfu.
    - ``name``: name of the scenario in results.

    Pivoted: the curves are known where the experiments were, and the exponents say how wrong they go from there.
    Independent is far too wide, as a scale and its exponent were fitted together.

    Errors: ``InputError`` for contradictory values.
    """

    compute: Annotated[Quantity | str, Unit("FLOP", positive=True)]
    fit: str = "besiroglu_2024"
    errors: Errors = "pivoted"
    inference_tokens: Annotated[Quantity | str, Unit("token")] | None = None
    accelerators: Count | None = None
    peak: ComputeRate | None = None
    mfu: Efficiency | None = None
    price: Annotated[Quantity | str, Unit("USD/hour", positive=True)] | None = None
    name: str = "scaling law"

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, value, known in (("fit", self.fit, tuple(FITS)), ("errors", self.errors, get_args(Errors))):
            if value not in known:
                raise UnknownName.among(what, value, known)
        due = {"accelerators": self.accelerators, "peak": self.peak, "mfu": self.mfu}
        missing = [name for name, value in due.items() if value is None]
        if missing and (len(missing) < 3 or self.price is not None):
            expected = "accelerators, peak and mfu together, and a price only with them"
            raise InputError(missing[0], given="none", expected=expected)

    @property
    def fitted(self) -> Fit:
        """The constants."""
        return FITS[self.fit]

    @property
    def training_seconds(self) -> float | None:
        """``compute / (accelerators peak mfu)``; None where nothing is said of accelerators."""
        if self.accelerators is None or self.peak is None or self.mfu is None:
            return None
        return si(self.compute) / (self.accelerators * si(self.peak) * self.mfu)

    @property
    def training_cost(self) -> float | None:
        """In USD; None without a price."""
        seconds = self.training_seconds
        if seconds is None or self.accelerators is None or self.price is None:
            return None
        return seconds / 3600 * self.accelerators * si(self.price)
