"""Closed forms and event simulation of machine-learning systems, on one scenario.

>>> import secondorder as so
>>> so.roofline(so.models.resnet50, so.accelerators.a100_80gb, batch_size=1, precision="fp16").bottleneck
'overhead'
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secondorder import laws as laws
    from secondorder.analytic.compression import compress as compress
    from secondorder.analytic.inverse_roofline import candidates as candidates
    from secondorder.analytic.inverse_roofline import required as required
    from secondorder.analytic.layout_search import layouts as layouts
    from secondorder.analytic.roofline import roofline as roofline
    from secondorder.errors import ConstraintNotMet as ConstraintNotMet
    from secondorder.errors import InfeasibleError as InfeasibleError
    from secondorder.errors import InputError as InputError
    from secondorder.errors import SecondOrderError as SecondOrderError
    from secondorder.errors import Unstable as Unstable
    from secondorder.fleets.accelerators import Accelerator as Accelerator
    from secondorder.fleets.accelerators import accelerators as accelerators
    from secondorder.fleets.clusters import Cluster as Cluster
    from secondorder.fleets.clusters import Fabric as Fabric
    from secondorder.fleets.clusters import Link as Link
    from secondorder.fleets.clusters import Node as Node
    from secondorder.fleets.clusters import Storage as Storage
    from secondorder.fleets.clusters import clusters as clusters
    from secondorder.fleets.clusters import fabrics as fabrics
    from secondorder.fleets.clusters import nodes as nodes
    from secondorder.fleets.clusters import storages as storages
    from secondorder.fleets.failures import Bursts as Bursts
    from secondorder.fleets.failures import FailureRates as FailureRates
    from secondorder.fleets.failures import NewNodes as NewNodes
    from secondorder.fleets.failures import PlatformRenewal as PlatformRenewal
    from secondorder.fleets.failures import ReplicatedPairs as ReplicatedPairs
    from secondorder.fleets.failures import StationaryNodes as StationaryNodes
    from secondorder.fleets.failures import failure_rates as failure_rates
    from secondorder.fleets.prices import prices as prices
    from secondorder.fleets.regions import Facility as Facility
    from secondorder.fleets.regions import Region as Region
    from secondorder.fleets.regions import facilities as facilities
    from secondorder.fleets.regions import regions as regions
    from secondorder.quantities import quantity as quantity
    from secondorder.scenarios.answers import Answer as Answer
    from secondorder.scenarios.answers import Estimate as Estimate
    from secondorder.scenarios.capacity import Capacity as Capacity
    from secondorder.scenarios.chunked_prefill import ChunkedPrefill as ChunkedPrefill
    from secondorder.scenarios.collective import Collective as Collective
    from secondorder.scenarios.compression import Compression as Compression
    from secondorder.scenarios.data_loading import DataLoading as DataLoading
    from secondorder.scenarios.disaggregated import Disaggregated as Disaggregated
    from secondorder.scenarios.expert_routing import ExpertRouting as ExpertRouting
    from secondorder.scenarios.footprint import Footprint as Footprint
    from secondorder.scenarios.inference import Inference as Inference
    from secondorder.scenarios.inverse_roofline import InverseRoofline as InverseRoofline
    from secondorder.scenarios.ownership import Ownership as Ownership
    from secondorder.scenarios.pipeline import Pipeline as Pipeline
    from secondorder.scenarios.prefix_caching import PrefixCaching as PrefixCaching
    from secondorder.scenarios.private_training import PrivateTraining as PrivateTraining
    from secondorder.scenarios.quantisation import Quantisation as Quantisation
    from secondorder.scenarios.queue import BatchService as BatchService
    from secondorder.scenarios.queue import Closed as Closed
    from secondorder.scenarios.queue import FirstCome as FirstCome
    from secondorder.scenarios.queue import ForkJoin as ForkJoin
    from secondorder.scenarios.queue import JoinShortest as JoinShortest
    from secondorder.scenarios.queue import Outage as Outage
    from secondorder.scenarios.queue import Patience as Patience
    from secondorder.scenarios.queue import Priorities as Priorities
    from secondorder.scenarios.queue import ProcessorSharing as ProcessorSharing
    from secondorder.scenarios.queue import Queue as Queue
    from secondorder.scenarios.queue import Random as Random
    from secondorder.scenarios.queue import Renewal as Renewal
    from secondorder.scenarios.queue import Shared as Shared
    from secondorder.scenarios.reasoning import Reasoning as Reasoning
    from secondorder.scenarios.scaling_law import ScalingLaw as ScalingLaw
    from secondorder.scenarios.serving import Serving as Serving
    from secondorder.scenarios.shared_cluster import SharedCluster as SharedCluster
    from secondorder.scenarios.speculative import Speculative as Speculative
    from secondorder.scenarios.steptime import Affine as Affine
    from secondorder.scenarios.steptime import Roofline as Roofline
    from secondorder.scenarios.steptime import Table as Table
    from secondorder.scenarios.topology import Topology as Topology
    from secondorder.scenarios.training import AsyncCheckpoint as AsyncCheckpoint
    from secondorder.scenarios.training import Checkpoint as Checkpoint
    from secondorder.scenarios.training import Recovery as Recovery
    from secondorder.scenarios.training import Spares as Spares
    from secondorder.scenarios.training import Training as Training
    from secondorder.scenarios.training import TwoLevelCheckpoint as TwoLevelCheckpoint
    from secondorder.scenarios.training import VerifiedCheckpoint as VerifiedCheckpoint
    from secondorder.scenarios.training_step import TrainingStep as TrainingStep
    from secondorder.systems.registry import register as register
    from secondorder.systems.system import System as System
    from secondorder.validation.comparison import Comparison as Comparison
    from secondorder.validation.comparison import compare as compare
    from secondorder.validation.sensitivity import sensitivity as sensitivity
    from secondorder.validation.sensitivity import sobol as sobol
    from secondorder.validation.sweeps import sweep as sweep
    from secondorder.verbs import solve as solve
    from secondorder.workloads.arrivals import Deterministic as Deterministic
    from secondorder.workloads.arrivals import Gamma as Gamma
    from secondorder.workloads.arrivals import MarkovModulated as MarkovModulated
    from secondorder.workloads.arrivals import Poisson as Poisson
    from secondorder.workloads.arrivals import TraceArrivals as TraceArrivals
    from secondorder.workloads.huggingface import from_config as from_config
    from secondorder.workloads.lengths import Empirical as Empirical
    from secondorder.workloads.lengths import Fixed as Fixed
    from secondorder.workloads.lengths import Geometric as Geometric
    from secondorder.workloads.lengths import Lengths as Lengths
    from secondorder.workloads.lengths import LogNormal as LogNormal
    from secondorder.workloads.lengths import Uniform as Uniform
    from secondorder.workloads.lengths import lengths as lengths
    from secondorder.workloads.models import models as models
    from secondorder.workloads.network import Network as Network
    from secondorder.workloads.traces import Trace as Trace
    from secondorder.workloads.traces import read_trace as read_trace
    from secondorder.workloads.training import Layout as Layout
    from secondorder.workloads.training import TrainingJob as TrainingJob
    from secondorder.workloads.transformer import Transformer as Transformer

_WHERE = {
    "analytic.layout_search": ["layouts"],
    "analytic.roofline": ["roofline"],
    "errors": ["ConstraintNotMet", "InfeasibleError", "InputError", "SecondOrderError", "Unstable"],
    "fleets.accelerators": ["Accelerator", "accelerators"],
    "fleets.clusters": ["Cluster", "Fabric", "Link", "Node", "Storage", "clusters", "fabrics", "nodes", "storages"],
    "fleets.failures": [
        "Bursts",
        "FailureRates",
        "NewNodes",
        "PlatformRenewal",
        "ReplicatedPairs",
        "StationaryNodes",
        "failure_rates",
    ],
    "scenarios.collective": ["Collective"],
    "scenarios.pipeline": ["Pipeline"],
    "scenarios.training": [
        "AsyncCheckpoint",
        "Checkpoint",
        "Recovery",
        "Spares",
        "Training",
        "TwoLevelCheckpoint",
        "VerifiedCheckpoint",
    ],
    "scenarios.training_step": ["TrainingStep"],
    "workloads.training": ["Layout", "TrainingJob"],
    "analytic.compression": ["compress"],
    "analytic.inverse_roofline": ["candidates", "required"],
    "fleets.prices": ["prices"],
    "fleets.regions": ["Facility", "Region", "facilities", "regions"],
    "scenarios.compression": ["Compression"],
    "scenarios.inverse_roofline": ["InverseRoofline"],
    "scenarios.capacity": ["Capacity"],
    "scenarios.speculative": ["Speculative"],
    "scenarios.disaggregated": ["Disaggregated"],
    "scenarios.prefix_caching": ["PrefixCaching"],
    "scenarios.chunked_prefill": ["ChunkedPrefill"],
    "scenarios.quantisation": ["Quantisation"],
    "scenarios.data_loading": ["DataLoading"],
    "scenarios.expert_routing": ["ExpertRouting"],
    "scenarios.footprint": ["Footprint"],
    "scenarios.inference": ["Inference"],
    "scenarios.ownership": ["Ownership"],
    "scenarios.reasoning": ["Reasoning"],
    "scenarios.scaling_law": ["ScalingLaw"],
    "scenarios.shared_cluster": ["SharedCluster"],
    "scenarios.topology": ["Topology"],
    "validation.sensitivity": ["sensitivity", "sobol"],
    "quantities": ["quantity"],
    "scenarios.answers": ["Answer", "Estimate"],
    "scenarios.private_training": ["PrivateTraining"],
    "scenarios.queue": [
        "BatchService",
        "Closed",
        "FirstCome",
        "ForkJoin",
        "JoinShortest",
        "Outage",
        "Patience",
        "Priorities",
        "ProcessorSharing",
        "Queue",
        "Random",
        "Renewal",
        "Shared",
    ],
    "scenarios.serving": ["Serving"],
    "scenarios.steptime": ["Affine", "Roofline", "Table"],
    "verbs": ["solve"],
    "systems.registry": ["register"],
    "systems.system": ["System"],
    "validation.comparison": ["Comparison", "compare"],
    "validation.sweeps": ["sweep"],
    "workloads.arrivals": ["Deterministic", "Gamma", "MarkovModulated", "Poisson", "TraceArrivals"],
    "workloads.huggingface": ["from_config"],
    "workloads.lengths": ["Empirical", "Fixed", "Geometric", "Lengths", "LogNormal", "Uniform", "lengths"],
    "workloads.models": ["models"],
    "workloads.network": ["Network"],
    "workloads.traces": ["Trace", "read_trace"],
    "workloads.transformer": ["Transformer"],
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__version__ = version("secondorder")
_MODULES = {"laws": "laws", "simulate": "simulate"}
"""Names that are modules themselves."""

__all__ = [*sorted(_MODULE), *_MODULES]


def __getattr__(name: str) -> Any:
    """Names are found when first asked for, so that the import costs next to nothing."""
    if name in _MODULES:
        return import_module(f"secondorder.{_MODULES[name]}")
    if name not in _MODULE:
        raise AttributeError(f"module 'secondorder' has no attribute {name!r}")
    value = getattr(import_module(f"secondorder.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
