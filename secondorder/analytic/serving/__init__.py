"""Closed forms of an LLM service, by order."""

from secondorder.analytic.serving.ladder import ladder
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import Saturation, saturation

__all__ = ["Replica", "Saturation", "ladder", "saturation"]
