"""A model run batch after batch on one accelerator: a host launches kernels, the device executes them in order.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> vision = Inference(model=models.resnet50, accelerator=accelerators.a100_80gb, launch="exponential 5 us")
>>> vision.kernels, round(vision.kernel_seconds * 1e6, 2), vision.host_bound
(50, 0.94, True)

The host hands kernel ``k`` over as soon as it has prepared it and the queue has room; the device takes them one by
one. With ``D`` the time of handing over, ``S`` that of beginning and ``E`` that of ending:

    D(k) = max(D(k-1) + launch, S(k - queue_depth))
    S(k) = max(D(k), E(k-1)),     E(k) = S(k) + execution

A step (one batch through all ``kernels``) lasts from the host's first move for it to the end of its last kernel. With
``synchronise`` the host waits for that end before it goes on; without, it prepares the next step meanwhile.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from annotated_types import Ge

from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.laws import Service, Time, Timed
from secondorder.quantities import Count, Duration, Efficiency, pretty, si
from secondorder.workloads.forward_pass import ForwardPass, forward_pass
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Inference(Timed):
    """Batches of ``model`` on one ``accelerator``, kernels launched asynchronously.

    - ``model``: network to run, from the zoo (resnet50, llama_3_1_8b).
    - ``accelerator``: accelerator that runs it, from the zoo (a100_80gb).
    - ``launch``: the host's time for launching one kernel, or its law ("8 us", "exponential 5 us").
    - ``batch_size``: inputs, or sequences, of a step.
    - ``precision``: number format of the arithmetic; the accelerator must have it.
    - ``weight_precision``: number format that weights are stored in; that of the arithmetic if not given.
    - ``kv_precision``: number format of a language model's KV cache; that of the arithmetic if not given.
    - ``input_tokens``: new tokens of each sequence, required for a language model; 1 is a decode step.
    - ``context_tokens``: tokens of each sequence that are cached already.
    - ``passes``: passes through the model in a step, such as denoising steps.
    - ``kernels_per_layer``: kernels launched for each layer of a pass.
    - ``kernel_floor``: least time that a kernel takes on the device, however little it does ("2 us").
    - ``jitter``: law of a factor of mean 1, drawn for each kernel ("lognormal scv=0.04").
    - ``queue_depth``: kernels that may wait for the device.
    - ``synchronise``: whether the host waits for the end of each step.
    - ``compute_efficiency``: share of the datasheet's FLOP/s that kernels reach.
    - ``memory_efficiency``: share of the datasheet's memory bandwidth that kernels reach.
    - ``name``: name of the scenario in results.

    A kernel's execution is an equal share of the roofline's ``max(compute, memory)``, at least ``kernel_floor``.
    Errors: ``DoesNotFit``, ``UnknownName`` for a precision that the part lacks, ``InputError``.
    """

    _times = ("launch",)
    _shapes = ("jitter",)
    model: Transformer | Network
    accelerator: Accelerator
    launch: Time
    batch_size: Count = 1
    precision: str = "fp16"
    weight_precision: str | None = None
    kv_precision: str | None = None
    input_tokens: Count | None = None
    context_tokens: Annotated[int, Ge(0)] = 0
    passes: Count = 1
    kernels_per_layer: Count = 1
    kernel_floor: Duration = "0 s"
    jitter: Service | str | None = None
    queue_depth: Count = 1024
    synchronise: bool = True
    compute_efficiency: Efficiency = 1.0
    memory_efficiency: Efficiency = 1.0
    name: str = "inference"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jitter is not None and abs(self.law("jitter").moment(1) - 1) > 1e-9:
            given = f"a law of mean {self.law('jitter').moment(1):.6g} s"
            raise InputError("jitter", given=given, expected="a factor, so a law of mean 1 s")
        self.accelerator.peak_flops(self.precision)  # a precision that the part lacks is refused here
        held, capacity = float(self.work.footprint), si(self.accelerator.memory_capacity)
        if held > capacity:
            raise DoesNotFit(
                f"{self.model.name} in {self.precision} with batch {self.batch_size} takes {pretty(held, 'byte')}, "
                f"{self.accelerator.name} has {pretty(capacity, 'byte')}; "
                "use a smaller batch or precision, or a larger accelerator"
            )

    # What follows from the fields

    @cached_property
    def work(self) -> ForwardPass:
        """FLOPs and bytes of a step."""
        return forward_pass(
            self.model,
            batch_size=self.batch_size,
            precision=self.precision,
            weight_precision=self.weight_precision,
            kv_precision=self.kv_precision,
            input_tokens=self.input_tokens,
            context_tokens=self.context_tokens,
            passes=self.passes,
        )

    @property
    def kernels(self) -> int:
        """Kernels of a step."""
        return self.work.layers * self.kernels_per_layer

    @cached_property
    def kernel_seconds(self) -> float:
        """Mean execution of a kernel, in s."""
        compute = self.work.flops / (self.accelerator.peak_flops(self.precision) * self.compute_efficiency)
        memory = self.work.bytes / (si(self.accelerator.memory_bandwidth) * self.memory_efficiency)
        return max(float(compute) / self.kernels, float(memory) / self.kernels, si(self.kernel_floor))

    @property
    def launch_seconds(self) -> float:
        """Mean launch of a kernel, in s."""
        return self.law("launch").moment(1)

    @property
    def launch_scv(self) -> float:
        """Squared coefficient of variation of a launch."""
        return self.law("launch").scv

    @property
    def kernel_scv(self) -> float:
        """Squared coefficient of variation of an execution."""
        return self.law("jitter").scv if self.jitter is not None else 0.0

    @property
    def host_bound(self) -> bool:
        """Whether the host is slower than the device."""
        return self.launch_seconds >= self.kernel_seconds
