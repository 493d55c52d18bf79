"""``secondorder study stragglers``: what slow ranks, stages and operations cost in recorded training steps."""

from typing import Annotated

from cyclopts import Parameter

from secondorder.cli.drawing import write_figure
from secondorder.cli.options import OUTPUT, PRINTED, REQUIRED, Output
from secondorder.cli.output import check_output, emit, patience, records

TITLE = "Replay recorded steps: what slow ranks, stages and operations cost."
EXAMPLE = """\
Examples:

  secondorder study stragglers trace.parquet --figure stragglers.png

The file has a row an operation: dp_rank, stage, step, optype, start_ts,
duration (s), seq_id, mc, gmc (ByteDance StragglerAnalysis; .parquet or .csv).
"""


def stragglers(
    trace: Annotated[str, Parameter(group=REQUIRED, metavar="FILE", help="Operations of recorded steps.")],
    /,
    *,
    figure: Annotated[
        str | None,
        Parameter(group=OUTPUT, metavar="FILE", help="Map of the ranks and bars of the shares: .png, .svg or .pdf."),
    ] = None,
    out: Output = PRINTED,
) -> None:
    """Replay recorded training steps: what slow ranks, stages and operations cost."""
    from secondorder.report.stragglers import straggler_figure, straggler_grid
    from secondorder.report.style import check_figure
    from secondorder.studies.stragglers import straggler_study
    from secondorder.workloads.step_trace import read_step_trace

    check_output(out)
    if figure is not None:
        check_figure(figure)
    with patience("replaying the steps"):
        study = straggler_study(read_step_trace(trace))
    emit(records(study.frame), [straggler_grid(study)], out)
    if figure is not None:
        write_figure(lambda: straggler_figure(study), figure)
