"""The scenarios and the truth of each field of maps."""

from collections.abc import Mapping
from functools import cache

from secondorder.breakdown.fields import Field
from secondorder.studies.maps.points import Ground


@cache
def _grounds() -> Mapping[str, Ground]:
    from secondorder.studies.maps import collectives, queues, training

    return {**queues.GROUNDS, **training.GROUNDS, **collectives.GROUNDS}


def ground_of(field: Field) -> Ground:
    """The scenarios and the truth of a field."""
    return _grounds()[field.name]
