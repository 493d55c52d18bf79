"""A calibrated step time under a name, as a TOML file that plans and flags take in the place of a step time."""

from typing import TYPE_CHECKING

from secondorder.spelling import spelled

if TYPE_CHECKING:
    from secondorder.validation.calibrate import Fit


def profile_text(fit: "Fit", name: str) -> str:
    """The profile as TOML: the step time in one line, and what it was fitted on."""
    worst = {rows: fit.worst(rows) for rows in ("fitted", "held out") if (fit.errors["rows"] == rows).any()}
    lines = [
        f"name = {_quoted(name)}",
        f"step_time = {_quoted(spelled('measured-roofline', fit.step_time))}",
        f"front_end = {_quoted(f'{fit.front_end * 1e3:.6g} ms')}",
        f"accelerator = {_quoted(fit.accelerator)}",
        f"runs = [{', '.join(_quoted(run) for run in fit.runs)}]",
        f"settled = {str(fit.settled).lower()}",
        *(f"worst_error_{rows.replace(' ', '_')} = {error:.4g}" for rows, error in worst.items()),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
