"""Closed forms: one model a module, named by the textbook's noun."""

from secondorder.scenarios.answers import Answer
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
from secondorder.scenarios.scenario import Scenario, no_scenario
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.shared_cluster import SharedCluster
from secondorder.scenarios.speculative import Speculative
from secondorder.scenarios.topology import Topology
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep


def solve(scenario: Scenario) -> Answer:
    """The closed forms of a scenario, every order.

    Errors: ``Unstable`` when the load is at or past saturation.
    """
    match scenario:
        case Serving():
            from secondorder.analytic.serving.ladder import ladder

            return ladder(scenario)
        case Queue():
            from secondorder.analytic.queue_ladder import solve_queue

            return solve_queue(scenario)
        case Training():
            from secondorder.analytic.training.ladder import solve_training

            return solve_training(scenario)
        case TrainingStep():
            from secondorder.analytic.training_step import solve_step

            return solve_step(scenario)
        case Compression():
            from secondorder.analytic.compression import solve_compression

            return solve_compression(scenario)
        case InverseRoofline():
            from secondorder.analytic.inverse_roofline import solve_inverse_roofline

            return solve_inverse_roofline(scenario)
        case PrivateTraining():
            from secondorder.analytic.private_training import solve_private_training

            return solve_private_training(scenario)
        case Collective():
            from secondorder.analytic.collectives.ladder import solve_collective

            return solve_collective(scenario)
        case Pipeline():
            from secondorder.analytic.collectives.ladder import solve_pipeline

            return solve_pipeline(scenario)
        case Inference():
            from secondorder.analytic.inference import solve_inference

            return solve_inference(scenario)
        case Capacity():
            from secondorder.analytic.capacity import solve_capacity

            return solve_capacity(scenario)
        case Speculative():
            from secondorder.analytic.serving.speculative import solve_speculative

            return solve_speculative(scenario)
        case Disaggregated():
            from secondorder.analytic.serving.disaggregated import solve_disaggregated

            return solve_disaggregated(scenario)
        case PrefixCaching():
            from secondorder.analytic.serving.prefix_caching import solve_prefix_caching

            return solve_prefix_caching(scenario)
        case ChunkedPrefill():
            from secondorder.analytic.serving.chunked_prefill import solve_chunked_prefill

            return solve_chunked_prefill(scenario)
        case Quantisation():
            from secondorder.analytic.serving.quantisation import solve_quantisation

            return solve_quantisation(scenario)
        case ExpertRouting():
            from secondorder.analytic.expert_routing import solve_expert_routing

            return solve_expert_routing(scenario)
        case DataLoading():
            from secondorder.analytic.data_loading import solve_data_loading

            return solve_data_loading(scenario)
        case SharedCluster():
            from secondorder.analytic.shared_cluster import solve_shared_cluster

            return solve_shared_cluster(scenario)
        case Topology():
            from secondorder.analytic.topology import solve_topology

            return solve_topology(scenario)
        case Ownership():
            from secondorder.analytic.ownership import solve_ownership

            return solve_ownership(scenario)
        case Footprint():
            from secondorder.analytic.footprint import solve_footprint

            return solve_footprint(scenario)
        case ScalingLaw():
            from secondorder.analytic.scaling_laws import solve_scaling_law

            return solve_scaling_law(scenario)
        case Reasoning():
            from secondorder.analytic.reasoning import solve_reasoning

            return solve_reasoning(scenario)
    raise no_scenario(scenario)
