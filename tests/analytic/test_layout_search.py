"""The search over layouts: what it finds fits, nothing that fits and is faster is left out."""

from dataclasses import replace
from itertools import product

import pytest

import secondorder as so
from secondorder.analytic.layout_search import layouts as search
from secondorder.analytic.training_step import mean_step
from secondorder.cli import main
from secondorder.errors import DoesNotFit, SecondOrderError

CLUSTER = replace(so.clusters.dgx_h100_superpod, nodes=2)
JOB = so.TrainingJob(model=so.models.llama_3_1_8b, global_batch=64, sequence_length=4096)


def test_the_search_finds_what_trying_everything_finds() -> None:
    """Every combination of the numbers up to 16, without a thought of what divides what."""
    best, count = float("inf"), 0
    ways = product((1, 2, 4, 8, 16), (1, 2, 4, 8, 16), (1, 2, 4, 8), range(4), ("none", "selective", "full"))
    for tensor, stages, micro, zero, recomputation in ways:
        if zero > 1 and stages > 1:
            continue
        for data in (1, 2, 4, 8, 16):
            try:
                layout = so.Layout(
                    data_parallel=data,
                    tensor_parallel=tensor,
                    pipeline_parallel=stages,
                    micro_batch_size=micro,
                    zero_stage=zero,
                    recomputation=recomputation,
                )
                step = so.TrainingStep(job=replace(JOB, layout=layout), cluster=CLUSTER)
            except SecondOrderError:
                continue
            count += 1
            best = min(best, mean_step(step))
    found = search(JOB, CLUSTER)
    assert len(found) == count
    assert found[0].seconds == best
    assert [each.seconds for each in found] == sorted(each.seconds for each in found)


def test_all_that_is_found_fits() -> None:
    most = 80 * 2**30
    assert all(each.memory < most and each.layout.accelerators == 16 for each in search(JOB, CLUSTER))


def test_a_model_that_fits_nowhere_is_refused() -> None:
    job = replace(JOB, model=so.models.llama_3_1_405b)
    with pytest.raises(DoesNotFit, match="no layout fits"):
        search(job, CLUSTER)


def test_the_command_prints_a_table_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["layouts", "--model", "llama_3_1_8b", "--cluster", "gb200_nvl72_rack", "--sequence-length", "8192"]
    assert main([*ask, "--global-batch", "576", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert len([line for line in out.splitlines() if "%" in line]) == 3
    assert main([*ask, "--global-batch", "576", "--zero-stage", "2"]) == 2
    assert "zero_stage: got a layout" in capsys.readouterr().err
    assert main(ask[:3]) == 2
    assert main(["layouts"]) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "resnet50"], "secondorder: model: got 'resnet50', which is no language model"),
        (["--sequence-length", "0"], "secondorder: sequence_length: got 0"),
        (["--nodes", "0"], "secondorder: nodes: got 0"),
        (["--reserved-memory", "400 GB"], "secondorder: reserved_memory: got 400 GB, expected less than the 20"),
    ],
)
def test_what_is_wrong_is_told_by_its_flag(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    job = {"--model": "llama_3_1_8b", "--cluster": "gb200_nvl72_rack", "--global-batch": "72"}
    job |= {"--sequence-length": "2048", **dict(zip(flags[::2], flags[1::2], strict=True))}
    assert main(["layouts", *(word for pair in job.items() for word in pair)]) == 2
    assert capsys.readouterr().err.startswith(said)
