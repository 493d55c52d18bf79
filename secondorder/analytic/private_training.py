"""What differential privacy costs a step of training, counted: FLOPs and memory. It says nothing about accuracy.

A plain step is a forward pass ``F`` and a backward pass ``2 F``. Noise is drawn once for each parameter, and
takes no matrix arithmetic.
"""

from secondorder.analytic.arguments import Real, plain, positive
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung
from secondorder.scenarios.private_training import PrivateTraining


def per_sample_overhead(*, forward_flops: Real, parameters: Real) -> Real:
    """FLOPs over those of a plain step with every sample's gradient written out: ``(3 F + 4 P) / (3 F)``.

    ``2 P`` for the norm of a sample's gradient of ``P`` values and ``2 P`` to add it, clipped, to the others; the
    matrix products are those of a plain step. *Exact* count. FLOPs of one sample; both broadcast. Errors:
    ``InputError``. *Source*: Abadi et al. 2016, algorithm 1, counted.

    >>> per_sample_overhead(forward_flops=2e9, parameters=1e9)
    1.6666666666666667
    """
    forward = positive("forward_flops", forward_flops)
    return plain((3 * forward + 4 * positive("parameters", parameters)) / (3 * forward))


def ghost_overhead() -> float:
    """FLOPs over those of a plain step with a second backward pass: ``(F + 2 F + 2 F) / (3 F) = 5/3``.

    The norms, from products of activations and of output gradients, are left out: a *lower bound*, near the
    truth where a sample's tokens are few compared with the layers' widths. *Source*: Li et al. 2022, section 4.

    >>> round(ghost_overhead(), 3)
    1.667
    """
    return 5 / 3


def solve_private_training(scenario: PrivateTraining) -> Answer:
    """``compute_overhead`` (FLOPs over those of a plain step) and ``gradient_memory`` (byte): order 0 is a plain step.

    >>> from secondorder.workloads.models import models
    >>> answer = solve_private_training(PrivateTraining(model=models.resnet50, batch_size=64))
    >>> round(answer.best("compute_overhead").amount, 4), str(answer.best("gradient_memory"))
    (1.0042, '6.54 GB')
    """
    s, parameters = scenario, float(scenario.model.parameters)
    ghost = s.clipping == "ghost"
    more = (
        ghost_overhead() if ghost else float(per_sample_overhead(forward_flops=s.forward_flops, parameters=parameters))
    )
    held = parameters * s.gradient_bytes
    claim, note = (Claim.BOUND, "from below: without the norms") if ghost else (Claim.EXACT, "")
    rungs = (
        ("compute_overhead", "", 0, 1.0, Claim.BOUND, "a plain step"),
        ("compute_overhead", "", 1, more, claim, note),
        ("gradient_memory", "byte", 0, held, Claim.BOUND, "a plain step"),
        ("gradient_memory", "byte", 1, held if ghost else held * s.batch_size, Claim.EXACT, ""),
    )
    source = "FLOPs and bytes, counted"
    estimates = tuple(
        Rung(metric=metric, amount=amount, unit=unit, source=source, order=order, claim=claim, note=note)
        for metric, unit, order, amount, claim, note in rungs
    )
    return Answer(
        scenario=s.name, estimates=estimates, how=f"{s.model.name}, {s.batch_size} samples, {s.clipping} clipping"
    )
