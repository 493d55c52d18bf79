"""Every scenario: what ``solve``, ``simulate``, ``compare`` and ``sweep`` take, and plans have tables for."""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias, get_args

from secondorder.errors import InputError
from secondorder.scenarios.capacity import Capacity
from secondorder.scenarios.chunked_prefill import ChunkedPrefill
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.compression import Compression
from secondorder.scenarios.data_loading import DataLoading
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.scenarios.expert_routing import ExpertRouting
from secondorder.scenarios.footprint import Footprint
from secondorder.scenarios.inference import Inference
from secondorder.scenarios.inverse_roofline import InverseRoofline
from secondorder.scenarios.ownership import Ownership
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.prefix_caching import PrefixCaching
from secondorder.scenarios.private_training import PrivateTraining
from secondorder.scenarios.quantisation import Quantisation
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.reasoning import Reasoning
from secondorder.scenarios.scaling_law import ScalingLaw
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.shared_cluster import SharedCluster
from secondorder.scenarios.speculative import Speculative
from secondorder.scenarios.topology import Topology
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep

Scenario: TypeAlias = (
    Serving
    | Queue
    | Training
    | TrainingStep
    | Compression
    | InverseRoofline
    | PrivateTraining
    | Collective
    | Pipeline
    | Inference
    | Capacity
    | Speculative
    | Disaggregated
    | PrefixCaching
    | ChunkedPrefill
    | Quantisation
    | ExpertRouting
    | DataLoading
    | SharedCluster
    | Topology
    | Ownership
    | Footprint
    | ScalingLaw
    | Reasoning
)

SYSTEMS: Mapping[str, type[Scenario]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in get_args(Scenario)
}
"""The kinds of scenario by the name of their table in a plan: ``training_step`` is a ``TrainingStep``."""


def no_scenario(given: Any) -> InputError:
    """The error for what is none."""
    expected = f"a scenario: {', '.join(kind.__name__ for kind in SYSTEMS.values())}"
    return InputError("scenario", given=type(given).__name__, expected=expected)
