"""Compiles the kernels before they are first needed: ``python -m secondorder.simulate.kernels``."""

from importlib.util import find_spec

from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.queue import ProcessorSharing, Queue
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.training import Checkpoint, Training
from secondorder.simulate.deployment.compiled import serve
from secondorder.simulate.partition import partition
from secondorder.simulate.queues.run import COMPILED_FROM, run
from secondorder.simulate.serving.answer import simulate_serving
from secondorder.simulate.serving.asks import draw
from secondorder.simulate.training.answer import simulate_training
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import lengths
from secondorder.workloads.models import models


def compile_all() -> None:
    """A short run of each scenario that has a kernel."""
    arrivals = Poisson("8 request/s")
    service = Serving(
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=arrivals,
        lengths=lengths.azure_conv_2023,
    )
    simulate_serving(service, requests=100, replications=2, witness="kernel")
    partition(service, requests=10, witness="kernel")
    serve(Deployment(serving=service, replicas=2), draw(service, 10, 0), witness="kernel")
    run(Queue(arrivals=arrivals, service="exponential 100 ms", servers=2), COMPILED_FROM)
    run(Queue(arrivals=arrivals, service="exponential 100 ms", discipline=ProcessorSharing()), COMPILED_FROM)
    work = Training(failures="exponential 3 h", checkpoint=Checkpoint(interval="30 min", write="60 s"))
    simulate_training(work, replications=2, witness="kernel")


if __name__ == "__main__" and find_spec("numba") is not None:  # it has no wheel for some machines
    compile_all()
