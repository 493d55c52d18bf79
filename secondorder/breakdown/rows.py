"""The approximations that have a map: which formula, of which metric, over which field."""

from dataclasses import dataclass

from secondorder.breakdown import fields
from secondorder.breakdown.fields import Field


@dataclass(frozen=True, kw_only=True)
class Row:
    """An approximation: its ``name``, a ``title``, the ``metric`` that it gives, the ``field`` of its map.

    ``order``: that of its rung on the ladder of ``solve``; None where the ladder does not have it.
    """

    name: str
    title: str
    field: Field
    metric: str
    order: int | None = None


def _row(name: str, title: str, field: Field, metric: str, order: int | None = None) -> Row:
    return Row(name=name, title=title, field=field, metric=metric, order=order)


ROWS: tuple[Row, ...] = (
    _row("mm1", "M/M/1 where gaps and services are not exponential", fields.SINGLE_LINE, "wait_mean", 1),
    _row("pollaczek_khinchine", "M/G/1 where arrivals are not Poisson", fields.SINGLE_LINE, "wait_mean"),
    _row("poisson_for_bursts", "M/M/1 where the rate of arrivals switches", fields.BURSTS, "wait_mean", 1),
    _row("index_of_dispersion", "Kingman's formula with the index of dispersion", fields.BURSTS, "wait_mean"),
)

BY_NAME: dict[str, Row] = {row.name: row for row in ROWS}
