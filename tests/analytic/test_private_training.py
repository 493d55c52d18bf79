"""The cost of differential privacy, against operations counted one by one."""

import numpy as np
import pytest

import secondorder as so
from secondorder.analytic.private_training import ghost_overhead, per_sample_overhead
from secondorder.cli import main
from secondorder.errors import InputError


def test_operations_of_a_small_layer_counted_one_by_one() -> None:
    """A matrix of 6 x 5, one sample of 7 tokens: every multiplication and addition of DP-SGD."""
    rows, columns, tokens = 6, 5, 7
    product = 2 * rows * columns * tokens  # forward; for the inputs; for the weights
    norm = sum(2 for _ in range(rows * columns))  # square, add
    added = sum(2 for _ in range(rows * columns))  # scale, add
    counted = (3 * product + norm + added) / (3 * product)
    assert per_sample_overhead(forward_flops=product, parameters=rows * columns) == pytest.approx(counted)
    assert per_sample_overhead(forward_flops=product, parameters=2 * rows * columns) > counted  # a wrong count is seen


def test_ghost_norms_are_the_norms_of_the_gradients_that_are_not_written() -> None:
    rng = np.random.default_rng(1)
    inputs, outputs = rng.normal(size=(7, 5)), rng.normal(size=(7, 6))
    written = np.linalg.norm(inputs.T @ outputs) ** 2
    ghost = float(((inputs @ inputs.T) * (outputs @ outputs.T)).sum())
    assert ghost == pytest.approx(written)
    assert ghost_overhead() == pytest.approx((1 + 2 + 2) / 3)


def test_a_long_sample_makes_the_norm_of_its_gradient_cheap_and_memory_is_what_binds() -> None:
    def overhead(tokens: int) -> float:
        scenario = so.PrivateTraining(model=so.models.llama_3_1_8b, batch_size=8, sequence_length=tokens)
        return so.solve(scenario).best("compute_overhead").amount

    assert overhead(1) > 1.5 > overhead(16) > overhead(2048) > 1
    many = so.solve(so.PrivateTraining(model=so.models.llama_3_1_8b, batch_size=8, sequence_length=2048))
    assert many.best("gradient_memory").amount == 8 * 4 * so.models.llama_3_1_8b.parameters
    ghost = so.PrivateTraining(model=so.models.llama_3_1_8b, batch_size=8, sequence_length=2048, clipping="ghost")
    assert so.solve(ghost).best("gradient_memory").amount == 4 * so.models.llama_3_1_8b.parameters


def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="sequence_length"):
        so.PrivateTraining(model=so.models.llama_3_1_8b, batch_size=8)
    with pytest.raises(InputError, match="did you mean ghost"):
        so.PrivateTraining(model=so.models.resnet50, batch_size=8, clipping="gost")  # type: ignore[arg-type]
    assert main(["private-training", "--model", "resnet50", "--batch-size", "0"]) == 2
    assert "batch_size: got 0" in capsys.readouterr().err
