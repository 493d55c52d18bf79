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
    _row("kingman", "Kingman's formula of heavy traffic", fields.SINGLE_LINE, "wait_mean"),
    _row("marchal", "Marchal's formula", fields.SINGLE_LINE, "wait_mean"),
    _row("kraemer_langenbach_belz", "Kraemer and Langenbach-Belz's formula", fields.SINGLE_LINE, "wait_mean", 2),
    _row("mmc", "M/M/c where gaps are not exponential", fields.SEVERAL_SERVERS, "wait_mean", 1),
    _row("whitt", "Whitt's formula for several servers", fields.SEVERAL_SERVERS, "wait_mean", 2),
    _row("allen_cunneen", "Allen and Cunneen's formula", fields.SEVERAL_SERVERS, "wait_mean"),
    _row("poisson_for_bursts", "M/M/1 where the rate of arrivals switches", fields.BURSTS, "wait_mean", 1),
    _row("index_of_dispersion", "Kingman's formula with the index of dispersion", fields.BURSTS, "wait_mean"),
    _row("no_failures", "Goodput without failures", fields.CHECKPOINTS, "goodput", 0),
    _row("young", "Young's first order of the goodput", fields.CHECKPOINTS, "goodput", 1),
    _row("young_of_weibull", "Young's first order where failures are not exponential", fields.WEIBULL, "goodput", 1),
    _row("daly_of_weibull", "Daly's goodput where failures are not exponential", fields.WEIBULL, "goodput"),
    _row("quiet_ring", "Ring all-reduce without jitter", fields.RING, "time_mean", 1),
    _row("ring_of_two_moments", "Jittered ring by two moments", fields.RING, "time_mean", 2),
    _row("bubble", "Bubble of 1f1b without jitter", fields.ONE_FORWARD_ONE_BACKWARD, "time_mean", 1),
    _row("quiet_wave", "Forward wave without jitter", fields.WAVE, "time_mean", 1),
    _row("last_passage", "Forward wave as last-passage percolation", fields.WAVE, "time_mean", 2),
)

BY_NAME: dict[str, Row] = {row.name: row for row in ROWS}
