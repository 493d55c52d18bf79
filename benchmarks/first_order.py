"""The first-order suite: every workflow with our number, its simulated twin's, the reference system's, and why.

    python benchmarks/first_order.py               the table
    python benchmarks/first_order.py --markdown    the page docs/first_order.md
    python benchmarks/first_order.py --reference   the reference system's numbers anew (needs mlsysim)

A row's calls are evaluated as they are shown, with the names that ``SCENARIOS`` makes. The reference system is MLSys·im
(Janapa Reddi, 2026); where it is installed its calls are evaluated too, else the numbers recorded here are shown.
"""

import ast
import contextlib
import io
import shlex
import sys
from dataclasses import dataclass
from typing import Any

from secondorder.errors import SecondOrderError
from secondorder.scenarios.answers import Answer, Estimate

REFERENCE, RECORDED = "MLSys·im 0.3.0", "2026-11-23"
"""The version whose numbers are recorded, and the day on which they were."""

SCENARIOS = """\
from dataclasses import replace
import secondorder as so
from secondorder.analytic.serving.saturation import saturation
from secondorder.scenarios.compression import Quantised
from secondorder.workloads.training_memory import stage_memory

h100, a100 = so.accelerators.h100_sxm, so.accelerators.a100_80gb
resnet, llama, gpt3 = so.models.resnet50, so.models.llama_3_1_8b, so.models.gpt_3_175b
half = {"precision": "bf16", "kernel_overhead": "0 s", "compute_efficiency": 0.5}
whole = {"precision": "bf16", "kernel_overhead": "0 s"}
vision = so.Inference(model=resnet, accelerator=a100, launch="lognormal 10 us scv=0.25")
chat = so.Serving(
    model=llama, accelerator=h100, arrivals=so.Poisson("8 request/s"), lengths=so.lengths.azure_conv_2023,
    max_num_seqs=256, max_num_batched_tokens=2048)
replica = so.Serving(
    model=llama, accelerator=h100, arrivals=so.Poisson("8 request/s"), lengths=so.Lengths(input=1920, output=128),
    max_num_seqs=32,
    step_time=so.Roofline(compute_efficiency=0.5, memory_efficiency=1, host_overhead="0.32 ms"))
many = so.Capacity(serving=replica, rate="50 request/s", e2el_p99="5 s")
chunks = so.ChunkedPrefill(
    serving=replace(replica, arrivals=so.Poisson("4 request/s"), lengths=so.Lengths(input=4096, output=128),
        max_num_batched_tokens=512))
split = so.Disaggregated(
    serving=replace(chat, arrivals=so.Poisson("20 request/s"), lengths=so.Lengths(input=2048, output=256)),
    prefill_replicas=2, decode_replicas=2, link=so.Link(bandwidth="50 GB/s", latency="10 us"))
drafted = so.Speculative(
    serving=so.Serving(
        model=so.models.llama_3_1_70b, accelerator=so.accelerators.h200, tensor_parallel_size=2,
        arrivals=so.Poisson("1 request/s"), lengths=so.Lengths(input=512, output=256)),
    draft=llama, gamma=4, acceptance=0.8)
servers = so.Queue(arrivals="poisson 16 request/s", service="exponential 100 ms", servers=2)
layouts = [
    so.Layout(data_parallel=32, tensor_parallel=4, pipeline_parallel=2, zero_stage=stage) for stage in range(4)]
jobs = [
    so.TrainingJob(model=gpt3, global_batch=512, sequence_length=2048, layout=layout, dropout=True)
    for layout in layouts]
pod = replace(so.clusters.dgx_h100_superpod, nodes=32)
step = so.TrainingStep(job=jobs[2], cluster=pod, compute_efficiency=0.5, jitter="lognormal scv=0.01")
pipeline = so.Pipeline(
    stages=8, microbatches=32, forward="10 ms", backward="20 ms", send="2 ms", jitter="lognormal scv=0.01")
routing = so.ExpertRouting(tokens=16, experts=8, top_k=2, expert_parallel=8)
fleet = so.Ownership(
    accelerator=h100, accelerators=64, purchase=so.prices.buy_h100_server.purchase, server_overhead=1,
    power_overhead=1.8, pue=1.17, electricity_price="0.12 USD/kWh", maintenance=0.05, service_life="4 year",
    horizon="3 year", utilisation=1.0)
daily = replace(
    fleet, accelerators=24, utilisation=None, rate="1.6 request/s", profile="sinusoid swing=0.4",
    service="exponential 10 s", tokens_per_request=300)
carbon = so.Footprint(
    accelerator=h100, accelerators=64, power_overhead=1.8, utilisation=0.5, horizon="365 day",
    region=so.regions.poland, facility=so.facilities.microsoft)
noisy = replace(carbon, load_scv=0.1, intensity_scv=0.1, correlation=0.5)
rates = so.FailureRates(name="both", per="accelerator", components={"gpu": "50000 h", "nic": "150000 h"})
run = so.Training(
    failures="exponential 8240 s", checkpoint=so.Checkpoint(interval="994.4 s", write="60 s"),
    recovery=so.Recovery(restart="300 s"), duration="54 day")
decode = so.Inference(
    model=llama, accelerator=h100, launch="1 us", precision="bf16", batch_size=512, input_tokens=1, context_tokens=16)
law = so.ScalingLaw(compute="5.76e23 FLOP")
private = so.PrivateTraining(model=llama, batch_size=8, sequence_length=2048, clipping="ghost")
thinking = so.Reasoning(
    strategy="best_of", samples=8, length="geometric 400", prompt_tokens=512, prefill="16.9 ms",
    token_time="5.13 ms", success=0.4)
loading = so.DataLoading(
    batch_size=256, sample_size="110 kB", storage_bandwidth="7 GB/s", workers=8, decode="exponential 300 ms",
    prefetch=4, step="exponential 50 ms")
torus = so.Topology(shape="torus 8x8x8", link_bandwidth="50 GB/s", size="1 GB")
shared = so.SharedCluster(
    accelerators=64, sizes=64, arrivals="0.5 job/day", duration="gamma 1 day scv=9", policy="fcfs")
"""
"""What the rows are about, as shown on the page."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.

    ``call`` and ``twin`` are Python, or a line of the command whose exit code counts; ``unit`` is what numbers are
    shown in, ``digits`` how many. ``theirs`` is the reference system's call and ``recorded`` what it gave.
    ``page`` is the figure that its own page prints (version 0.1.2); ``band`` has two calls, and what moves between.
    """

    workflow: str
    what: str
    call: str
    unit: str = ""
    digits: int = 3
    twin: str = ""
    theirs: str = ""
    recorded: object = None
    page: str = ""
    why: str
    derivation: str = ""
    band: tuple[str, str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the reference system gets wrong. The row of that name says what it costs, or ``theirs`` and ``ours`` do.

    ``tests`` show the wrong form and ours side by side, and judge both by simulation or measurement.
    """

    what: str
    row: str = ""
    theirs: str = ""
    ours: str = ""
    tests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a row's calls gave, as shown."""

    ours: str
    twin: str = ""
    theirs: str = ""
    band: str = ""


ROWS = (
    # Roofline
    Row(
        workflow="Roofline", what="ResNet-50 on an A100, batch 1",
        call="so.roofline(resnet, a100).latency", unit="ms",
        theirs="SingleNodeModel().solve(Models.Vision.ResNet50, Hardware.Cloud.A100).latency.to('s').magnitude",
        recorded=0.000567564103, page="0.54 ms, 1843/s, memory",
        why="The page counted 4.1 G multiply-accumulates as FLOPs; 0.3.0 no longer does. What remains is the dispatch.",
        derivation="26 µs of arithmetic (8.2 GFLOP / 312 TFLOP/s), 47 µs of memory, 50 kernels of 10 µs: 0.547 ms.",
        band=("so.roofline(resnet, a100, kernel_overhead='5 us').latency",
              "so.roofline(resnet, a100, kernel_overhead='20 us').latency", "5 to 20 µs for a kernel"),
    ),
    Row(
        workflow="Roofline", what="what binds it",
        call="so.roofline(resnet, a100).bottleneck",
        theirs="SingleNodeModel().solve(Models.Vision.ResNet50, Hardware.Cloud.A100).bottleneck.lower()",
        recorded="compute", page="memory",
        why="91 % of the time is launching kernels; 0.3.0 says so in a flag beside the word.",
    ),
    Row(
        workflow="Roofline", what="the same, kernels launched ahead", digits=4,
        call="so.solve(vision).best('latency_mean')", unit="ms",
        twin="so.simulate(vision, seed=1).best('latency_mean')",
        why="The device works while the host launches the next kernel: the taxes overlap and do not add.",
    ),
    Row(
        workflow="Roofline", what="ridge points of A100 80GB, H100 SXM, H200, T4, V100",
        call="[so.roofline(resnet, so.accelerators[name]).ridge_point"
             " for name in ('a100_80gb', 'h100_sxm', 'h200', 't4', 'v100')]",
        unit="FLOP/byte", digits=4,
        theirs="[getattr(Hardware.Cloud, name).ridge_point().magnitude for name in ('A100', 'H100', 'H200', 'T4',"
               " 'V100')]",
        recorded=[153.01618440411968, 295.2238805970149, 206.0416666666667, 203.125, 138.8888888888889],
        why="They agree.",
    ),
    Row(
        workflow="Roofline", what="a decode step of 512 sequences, 17 tokens each",
        call="so.roofline(llama, h100, batch_size=512, input_tokens=1, context_tokens=16, **whole).latency", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, seq_len=17,"
               " batch_size=512).itl.to('s').magnitude",
        recorded=0.005454583064,
        why="It has no compute term in decode; at 512 sequences the step is bound by arithmetic.",
    ),
    # Serving
    Row(
        workflow="LLM serving", what="time to first token, prompt of 2,048, idle, half the peak",
        call="so.roofline(llama, h100, input_tokens=2048, **half).latency", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100,"
               " seq_len=2048).ttft.to('s').magnitude",
        recorded=0.07097037058756726, page="4.2 ms",
        why="It takes the embedding for a matrix, makes logits of every token and counts pairs that the mask hides.",
        derivation="4.2 ms is a prompt of 128 tokens without reading the weights (ours: 4.49 ms); a prompt of 2,048 is"
                   " 29.7 TFLOP over half of 989 TFLOP/s.",
        band=("so.roofline(llama, h100, input_tokens=2048, **half | {'compute_efficiency': 0.7}).latency",
              "so.roofline(llama, h100, input_tokens=2048, **half | {'compute_efficiency': 0.4}).latency",
              "70 to 40 % of the peak"),
    ),
    Row(
        workflow="LLM serving", what="time per output token, batch 1, at 2,048 tokens",
        call="so.roofline(llama, h100, input_tokens=1, context_tokens=2047, **whole).latency", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100,"
               " seq_len=2048).itl.to('s').magnitude",
        recorded=0.005194159837611941, page="0.8 ms",
        why="It reads the whole embedding for one row, and adds .32 ms of launching.",
        derivation="16.06 GB of weights less 1.05 GB of embedding and .27 GB of cache over 3.35 TB/s; .8 ms would take"
                   " a memory of 20 TB/s.",
        band=("so.roofline(llama, h100, input_tokens=1, context_tokens=2047, **whole).latency",
              "so.roofline(llama, h100, input_tokens=1, context_tokens=2047, memory_efficiency=0.7, **whole).latency",
              "all to 70 % of the bandwidth"),
    ),
    Row(
        workflow="LLM serving", what="cache of a sequence of 2,048 tokens",
        call="llama.kv_bytes_per_token('bf16') * 2048", unit="GB",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100,"
               " seq_len=2048).kv_cache_size.to('byte').magnitude",
        recorded=268435456.0, page="2.1 GB",
        why="They agree; the page's figure is 16,384 tokens.",
        derivation="32 layers x 2 x 8 heads x 128 x 2 byte = 131 kB a token: .268 GB at 2,048, 2.15 GB at 16,384.",
        band=("llama.kv_bytes_per_token('fp8') * 2048", "llama.kv_bytes_per_token('bf16') * 2048",
              "cache of 8 to 16 bits"),
    ),
    Row(
        workflow="LLM serving", what="fp8 on an A100, which has none",
        call="so.roofline(llama, a100, input_tokens=2048, precision='fp8').latency", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.A100, seq_len=2048,"
               " precision='fp8').ttft.to('s').magnitude",
        recorded=0.2249502772791795,
        why="It takes the rate of fp16 without a word.",
    ),
    Row(
        workflow="LLM serving", what="p99 of the time to first token at 8 request/s, production lengths",
        call="so.solve(chat).best('ttft_p99')", unit="ms",
        twin="so.simulate(chat, seed=1, replications=5, requests=2_000).best('ttft_p99')",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100,"
               " seq_len=1155).ttft.to('s').magnitude",
        recorded=0.03893560828958544,
        why="Its engine is idle: prompts of the mean length, and nobody waits.",
    ),
    Row(
        workflow="LLM serving", what="prefix cache: idle time to first token, 3/4 of 1,920 tokens found",
        call="so.roofline(llama, h100, input_tokens=480, context_tokens=1440, **half).latency", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, seq_len=1920,"
               " cached_prefix_len=1440).ttft.to('s').magnitude",
        recorded=0.01657619579534884,
        why="It scales the whole prompt by the share; new tokens still look at the cached ones.",
    ),
    Row(
        workflow="LLM serving", what="chunked prefill: longest gap between tokens, prompts of 4,096 in chunks of 512",
        call="so.solve(chunks).best('itl_max')", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, seq_len=4096,"
               " prefill_chunk_tokens=512).decode_stall_bound.to('s').magnitude",
        recorded=0.018861833423207283,
        why="An eighth of its prefill; ours is the last chunk, which looks at the whole prompt, with its decodes.",
    ),
    Row(
        workflow="LLM serving", what="two replicas prefill, two decode, 20 request/s: p99 to the first token",
        call="so.solve(split).best('ttft_p99')", unit="ms",
        theirs="ServingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, seq_len=2048,"
               " decode_hardware=Hardware.Cloud.H100, network_bandwidth=Q_('50 GB/s')).ttft.to('s').magnitude",
        recorded=0.0763390797,
        why="Prefill and transfer of a prompt alone; prompts queue for both.",
    ),
    Row(
        workflow="LLM serving", what="speculation: four drafted tokens, .8 accepted, 70B by 8B",
        call="so.solve(drafted).best('speedup')",
        theirs="ServingModel().solve(Models.Language.Llama3_70B, Hardware.Cloud.H200, seq_len=640).itl.magnitude"
               " / ServingModel().solve(Models.Language.Llama3_70B, Hardware.Cloud.H200, seq_len=640,"
               " draft_model=Models.Language.Llama3_8B, draft_acceptance_rate=0.8).itl.magnitude",
        recorded=2.3270387,
        why="The draft's steps are launched one by one too; in a large enough batch a draft costs more than it saves.",
    ),
    # Capacity
    Row(
        workflow="Capacity", what="request/s of a replica: 1,920 tokens in, 128 out, 32 slots",
        call="saturation(replica).rate", unit="request/s",
        twin="so.simulate(replace(replica, arrivals=so.Poisson('12 request/s')), seed=1, replications=5,"
             " requests=2_000).best('request_throughput')",
        theirs="ServingCapacityModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, qps=50,"
               " target_p99_latency_ms=5000, max_seq_len=2048, output_tokens=128,"
               " max_batch_size=32).per_replica_qps_capacity",
        recorded=33.975749382791705, page="34 request/s",
        why="It forgets the prompts. Offered 12 request/s the twin carries them; offered 13 it serves 12.6.",
        derivation="A request takes 56 ms of prefill and 128 of 32 slots' steps; by the steps alone it would be 34/s.",
        band=("saturation(replace(replica, step_time=replace(replica.step_time, compute_efficiency=0.4))).rate",
              "saturation(replace(replica, step_time=replace(replica.step_time, compute_efficiency=0.7))).rate",
              "40 to 70 % of the peak"),
    ),
    Row(
        workflow="Capacity", what="replicas for 50 request/s, 99 of 100 done in 5 s",
        call="so.solve(many).best('replicas')", digits=0,
        twin="so.simulate(many, seed=1, replications=3).best('replicas')",
        theirs="ServingCapacityModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, qps=50,"
               " target_p99_latency_ms=5000, max_seq_len=2048, output_tokens=128,"
               " max_batch_size=32).required_replicas",
        recorded=2,
        why="Two replicas serve 25 request/s; the queue of the other 25 grows.",
    ),
    Row(
        workflow="Capacity", what="p99 of two servers of 100 ms at 16 request/s", digits=4,
        call="so.solve(servers).best('response_p99')", unit="ms",
        twin="so.simulate(servers, seed=1).best('response_p99')",
        theirs="TailLatencyModel().solve(16, 100, 2).p99_latency.to('s').magnitude",
        recorded=1.1660609,
        why="p99 of the wait plus the mean service is not the p99 of their sum.",
    ),
    # Training
    Row(
        workflow="Parallelism", what="GPT-3 on 256 H100 (DP 32, TP 4, PP 2) without ZeRO",
        call="so.solve(so.TrainingStep(job=jobs[0], cluster=pod)).best('step_time_mean')", unit="s",
        theirs="DistributedModel().solve(Models.Language.GPT3, Systems.Clusters.DgxH100SuperPodSU, batch_size=512,"
               " tp_size=4, pp_size=2, microbatch_count=16).step_latency_total.to('s').magnitude",
        recorded=11.455514543290477,
        why="371 GB do not fit in 80 GiB; it gives a step time all the same.",
    ),
    Row(
        workflow="Parallelism", what="the same with ZeRO 2: a step, half the peak", digits=4,
        call="so.solve(step).best('step_time_mean')", unit="s",
        twin="so.simulate(step, seed=1, replications=5).best('step_time_mean')",
        theirs="DistributedModel().solve(Models.Language.GPT3, Systems.Clusters.DgxH100SuperPodSU, batch_size=512,"
               " tp_size=4, pp_size=2, microbatch_count=16, zero_stage=2, seq_len=2048)"
               ".step_latency_total.to('s').magnitude",
        recorded=11.455514543290477,
        why="Sent once and never hidden, its gradients are not those of ZeRO 2, which go round for every microbatch.",
    ),
    Row(
        workflow="Parallelism", what="idle share of 8 stages, 32 microbatches, 2 ms a send", digits=4,
        call="so.solve(pipeline).best('bubble_fraction')", unit="%",
        twin="so.simulate(pipeline, seed=1).best('bubble_fraction')",
        theirs="DistributedModel().solve(Models.Language.GPT3, Systems.Clusters.DgxH100SuperPodSU, batch_size=512,"
               " tp_size=4, pp_size=8, microbatch_count=32).bubble_fraction",
        recorded=0.1794871794871795,
        why="(p - 1)/(m + p - 1): its sends take no time. Our form counts them; only the twin sees the jitter of 10 %.",
    ),
    Row(
        workflow="Training memory", what="GPT-3, ZeRO 0 to 3, one microbatch",
        call="[stage_memory(job)[0].state + stage_memory(job)[0].microbatch for job in jobs]", unit="GB",
        theirs="[TrainingMemoryModel().solve(Models.Language.GPT3, Hardware.Cloud.H100, batch_size=32, seq_len=2048,"
               " tp_size=4, pp_size=2, dp_size=32, zero_stage=stage).total_memory.to('byte').magnitude"
               " for stage in range(4)]",
        recorded=[362555819488.0, 108258944488.0, 63756991363.0, 21374178863.0], page="362, 108, 64, 21 GB",
        why="They agree within 2 %, its buffers.",
        derivation="18 bytes a parameter over 8 ranks, of which ZeRO shares 12, 14 and all among 32; 10.3 GB of"
                   " activations.",
    ),
    Row(
        workflow="Training memory", what="the same as 1F1B runs it",
        call="[stage_memory(job)[0].total for job in jobs]", unit="GB",
        why="The first of two stages holds two microbatches at once, not one.",
    ),
    Row(
        workflow="MoE", what="fullest expert over the mean: 16 tokens, 2 of 8",
        call="so.solve(routing).best('imbalance')", digits=4,
        twin="so.simulate(routing, seed=2, replications=40).best('imbalance')",
        theirs="MoERoutingModel().solve(Models.Language.Mixtral_8x7B, batch_size=1, seq_len=16,"
               " ep_size=8).routing_imbalance_factor",
        recorded=1.0,
        why="Its user is to know the factor, and 1 is the default. All routings counted: 1.689.",
    ),
    # Money and carbon
    Row(
        workflow="Economics", what="64 H100 for 3 years, all costs",
        call="so.solve(fleet).best('total_cost')", unit="M USD",
        theirs="EconomicsModel().solve(Systems.Clusters.Lab_64_H100, 3 * 365, kwh_price=0.12).tco_usd",
        recorded=1998235.0336, page="3.7M USD, 1.2M of it energy",
        why="Ours counts the power of whole servers and the upkeep of a dearer H100, which it spreads over four years.",
        derivation="64 x 33,600 USD x 3/4 + 5 % a year of maintenance + energy.",
        band=("so.solve(replace(fleet, service_life='6 year', utilisation=0.3)).best('total_cost')",
              "so.solve(replace(fleet, service_life='3 year', server_overhead=1.3)).best('total_cost')",
              "6 years and 30 % of work, to 3 years and 30 % for the network"),
    ),
    Row(
        workflow="Economics", what="of which energy, at $0.12/kWh",
        call="so.solve(fleet).best('energy_cost')", unit="M USD",
        theirs="EconomicsModel().solve(Systems.Clusters.Lab_64_H100, 3 * 365, kwh_price=0.12).opex_energy_usd",
        recorded=158235.0336, page="1.2M USD",
        why="Only accelerators draw power there; a DGX draws 1.8 times as much. 1.2M USD would be $0.91/kWh.",
        derivation="64 x 700 W x 1.8 x PUE 1.17 x 26,298 h x 0.12 USD/kWh.",
        band=("so.solve(replace(fleet, power_overhead=1, pue=1.12)).best('energy_cost')",
              "so.solve(replace(fleet, pue=1.56)).best('energy_cost')",
              "accelerators alone, to whole servers at the average site"),
    ),
    Row(
        workflow="Economics", what="an accelerator whose price is not known",
        call="so.solve(replace(fleet, accelerator=so.accelerators.a100_40gb, purchase=so.prices.aws_p4d.purchase))",
        unit="M USD",
        theirs="EconomicsModel().solve(Systems.Clusters.Lab_64_H100.model_copy(update={'node':"
               " Systems.Clusters.Lab_64_H100.node.model_copy(update={'accelerator': Hardware.Cloud.A100_40GB})}),"
               " 3 * 365).capex_usd",
        recorded=0.0,
        why="A price that is missing is bought for nothing; 41 of its 52 accelerators have none.",
    ),
    Row(
        workflow="Economics", what="a million tokens under a day's load",
        call="so.solve(daily).best('cost_per_token')", unit="USD/Mtok", digits=4,
        twin="so.simulate(daily, seed=1, replications=5).best('cost_per_token')",
        why="Its costs know no load; ours divide by what the day brings, with its queues.",
    ),
    Row(
        workflow="Sustainability", what="Poland over Quebec, the same fleet",
        call="so.solve(carbon).best('carbon_operational').amount"
             " / so.solve(replace(carbon, region=so.regions.quebec)).best('carbon_operational').amount",
        theirs="Infrastructure.Grids.Poland.carbon_intensity_g_kwh"
               " / Infrastructure.Grids.Quebec.carbon_intensity_g_kwh",
        recorded=41.0, page="41x",
        why="820 and 20 g/kWh stand in no primary source; Ember has 662 for 2023 and Quebec's mix computes to 27.5.",
        derivation="662/27.5; both life cycle.",
        band=("629 / 27.5", "662 / 27", "later editions' 629; Quebec's mix at 27 to 27.5"),
    ),
    Row(
        workflow="Sustainability", what="a year of 64 H100 in Poland at half work",
        call="so.solve(noisy).best('carbon_operational')", unit="t CO2e",
        twin="so.simulate(noisy, seed=1, replications=5).best('carbon_operational')",
        theirs="SustainabilityModel().solve(Systems.Clusters.Lab_64_H100.model_copy(update={'region':"
               " Infrastructure.Grids.Poland}), 365, mfu=0.5).carbon_footprint_kg",
        recorded=330496.15872,
        why="Ours: whole servers, 662 g/kWh, load and intensity that rise together. Its: 820 g/kWh and a PUE of 1.58.",
    ),
    # Reliability
    Row(
        workflow="Reliability", what="MTBF of 16,384 GPUs (50,000 h) and NICs (150,000 h)",
        call="rates.mtbf(16_384)", unit="h", digits=4,
        theirs="ReliabilityModel().solve(Systems.Clusters.Meta_Llama3_16K_H100, 54 * 24).fleet_mtbf.to('s').magnitude",
        recorded=8239.74609375, page="2.289 h",
        why="They agree.", derivation="1 / (16,384 (1/50,000 h + 1/150,000 h)).",
        band=("rates.mtbf(16_384)", "54 * 86_400 / 419",
              "assumed rates, and the 419 failures that Llama 3 saw in 54 days"),
    ),
    Row(
        workflow="Reliability", what="Young's interval for writes of 60 s",
        call="(2 * 60 * rates.mtbf(16_384)) ** 0.5", unit="s", digits=4,
        theirs="ReliabilityModel().solve(Systems.Clusters.Meta_Llama3_16K_H100, 54 * 24)"
               ".optimal_checkpoint_interval.to('s').magnitude",
        recorded=994.3689110435824, page="994.4 s", why="They agree.", derivation="sqrt(2 x 60 s x 8,240 s).",
    ),
    Row(
        workflow="Reliability", what="goodput at it, restarts of 300 s",
        call="so.solve(run).best('goodput')", digits=4,
        twin="so.simulate(run, seed=1, replications=60).best('goodput')",
        theirs="ReliabilityModel().solve(Systems.Clusters.Meta_Llama3_16K_H100, 54 * 24, 60, 300).goodput_ratio",
        recorded=0.903251332449859,
        why="1 - write/interval - restart/MTBF omits the work done anew, half an interval for each failure.",
    ),
    # Sensitivity and the rest
    Row(
        workflow="Sensitivity", what="what bandwidth is worth to the step of 512 sequences",
        call="so.sensitivity(decode, 'latency_mean', ['accelerator.memory_bandwidth']).rows[0].elasticity",
        theirs="SensitivitySolver().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100)"
               ".sensitivities['memory_bandwidth'] / 0.1",
        recorded=-0.8555523500293008,
        why="It knows batch 1 only, where memory binds; at 512 sequences bandwidth is worth nothing.",
    ),
    Row(
        workflow="Sensitivity", what="what the load is worth to a queue's wait at 80 %",
        call="so.sensitivity(so.Queue(arrivals='poisson 8 request/s', service='exponential 100 ms'), 'wait_mean',"
             " ['arrivals.rate']).rows[0].elasticity",
        why="1/(1 - rho): a tenth more load makes the wait half as long again. It has no such sensitivity.",
    ),
    Row(
        workflow="Inverse roofline", what="bandwidth for 10 ms a token at 2,048 tokens",
        call="so.required(llama, latency='10 ms', input_tokens=1, context_tokens=2047,"
             " **whole).bandwidth", unit="GB/s", digits=4,
        theirs="SynthesisSolver().solve(Models.Language.Llama3_8B, Q_('10 ms')).required_bw.to('byte/s').magnitude",
        recorded=1606000000000.0,
        why="It reads all weights and no cache; ours looks a row of the embedding up and reads the cache.",
    ),
    Row(
        workflow="Scaling laws", what="parameters for 5.76e23 FLOP at 20 tokens each",
        call="so.solve(law)['parameters'][0]", unit="G",
        theirs="ScalingModel().solve(Q_(5.76e23, 'flop')).optimal_parameters.magnitude",
        recorded=69282032302.755, page="69.3e9 parameters, 1.386e12 tokens",
        why="They agree.", derivation="sqrt(C/(6 x 20)); 20 tokens each: 1.386e12.",
        band=("so.solve(law).best('parameters_p2_5')", "so.solve(law).best('parameters_p97_5')",
              "95 % of the fit's published errors"),
    ),
    Row(
        workflow="Scaling laws", what="the same by the fitted loss", digits=4,
        call="so.solve(law).best('parameters')", unit="G", twin="so.simulate(law, seed=1).best('parameters')",
        why="The optimum of a fitted loss, with the errors of its constants; it has the rule of thumb only.",
    ),
    Row(
        workflow="Compression", what="speed of a prefill of 2,048 with 4-bit weights",
        call="so.compress(llama, h100, Quantised(weights='int4'), input_tokens=2048, **whole).speedup",
        theirs="CompressionModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, target_bitwidth=4,"
               " baseline_precision='fp16').inference_speedup",
        recorded=4.0,
        why="Its gain is the ratio of the bits; arithmetic in 16 bits takes as long as before.",
    ),
    Row(
        workflow="Compression", what="speed of a decode step with 4-bit weights",
        call="so.compress(llama, h100, Quantised(weights='int4'), input_tokens=1, context_tokens=2047,"
             " **whole).speedup",
        theirs="CompressionModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, target_bitwidth=4,"
               " baseline_precision='fp16').inference_speedup",
        recorded=4.0,
        why="The cache keeps its bits, and every step reads it.",
    ),
    Row(
        workflow="Reasoning", what="8 answers of 400 tokens on average, all read: mean",
        call="so.solve(thinking).best('latency_mean')", unit="s",
        twin="so.simulate(thinking, seed=1).best('latency_mean')",
        theirs="InferenceScalingModel().solve(Models.Language.Llama3_8B, Hardware.Cloud.H100, reasoning_steps=8,"
               " context_length=512).total_reasoning_time.to('s').magnitude",
        recorded=2.07054122604973,
        why="400 tokens each time; the longest of eight random answers is 2.7 times the mean.",
    ),
    Row(
        workflow="Data loading", what="mean step where the loader is 32 % faster than the step of 50 ms",
        call="so.solve(loading).best('step_time_mean')", unit="ms",
        twin="so.simulate(loading, seed=1).best('step_time_mean')",
        theirs="max(DataModel().solve(Q_(256 * 110e3 / 0.05, 'byte/s'), Hardware.Cloud.H100).utilization, 1) * 0.05",
        recorded=0.05,
        why="A loader that is faster on average starves the accelerator now and then all the same.",
    ),
    Row(
        workflow="Topology", what="bisection of a torus of 8 x 8 x 8, links of 50 GB/s",
        call="so.solve(torus).best('bisection_bandwidth')", unit="TB/s",
        theirs="TopologyModel().solve(Systems.Fabrics.InfiniBand_NDR, topology='torus_3d',"
               " num_nodes=512).bisection_bw.to('byte/s').magnitude",
        recorded=3200000000000.0,
        why="The middle of a torus is cut twice, as its ends are joined: 128 links and not 64.",
    ),
    Row(
        workflow="Multi-tenant queue", what="mean wait, half full, durations of 1 day with cv 3",
        call="so.solve(shared).best('wait_mean')", unit="day",
        twin="so.simulate(shared, seed=1).best('wait_mean')",
        theirs="OrchestrationModel().solve(Systems.Clusters.Lab_64_H100, 0.5,"
               " 1.0).avg_wait_time_days.to('s').magnitude",
        recorded=43200.0,
        why="M/D/1: it takes all jobs for equally long. The wait goes as 1 + cv^2: ten times that.",
    ),
    Row(
        workflow="Privacy overhead", what="training with differential privacy",
        call="so.solve(private).best('compute_overhead')",
        theirs="ResponsibleEngineeringModel().solve(Q_('1 day'), epsilon=1.0).dp_slowdown_factor",
        recorded=3.0,
        why="1 + 2/epsilon is a constant without a source; the work is a second backward pass, whatever epsilon is.",
    ),
    # Registries and the command line
    Row(
        workflow="Registries", what="accelerators, models, regions, prices",
        call="[len(zoo) for zoo in (so.accelerators, so.models, so.regions, so.prices)]",
        digits=0,
        why="Each figure has its source and date; what is not known is an error that names it.",
    ),
    Row(
        workflow="Command line", what="a model that does not fit: exit code",
        call="$ secondorder roofline llama_3_1_70b t4 --input-tokens 1", digits=0,
        recorded=0, theirs="$ mlsysim eval Llama3_70B T4",
        why="It prints FAIL and exits 0; scripts go on.",
    ),
)  # fmt: skip

KNOWN = "test_known_faults.py::test_"
FAULTS = (
    Fault(
        what="decoding never leaves the memory side and has no compute term",
        row="a decode step of 512 sequences, 17 tokens each",
        tests=(KNOWN + "decode_leaves_the_memory_side", KNOWN + "served_decoding_has_a_compute_term",
               KNOWN + "a_single_request_is_bound_by_memory"),
    ),
    Fault(
        what="small models are not called overhead-bound", row="what binds it",
        tests=(KNOWN + "small_models_are_bound_by_overhead", KNOWN + "small_models_are_bound_by_overhead_as_measured",
               "test_inference.py::test_the_sum_of_taxes_and_the_means_miss_what_the_simulation_shows"),
    ),
    Fault(
        what="multiply-accumulates count as one FLOP: ResNet-50", theirs="4.1 GFLOP", ours="8.18 GFLOP",
        tests=(KNOWN + "macs_are_not_flops_in_a_network", KNOWN + "macs_are_not_flops_in_a_transformer"),
    ),
    Fault(
        what="a precision that the part lacks runs at the rate of fp16", row="fp8 on an A100, which has none",
        tests=(KNOWN + "a_precision_that_the_part_lacks_is_refused",
               KNOWN + "a_precision_has_a_rate_of_its_own_as_measured"),
    ),
    Fault(
        what="time to first token of 128 tokens, read as of any prompt",
        row="time to first token, prompt of 2,048, idle, half the peak",
        tests=(KNOWN + "the_printed_latencies_of_a_single_request_are_impossible",
               KNOWN + "no_request_of_a_real_engine_was_as_fast_as_printed"),
    ),
    Fault(
        what="tokens faster than the weights are read", row="time per output token, batch 1, at 2,048 tokens",
        tests=(KNOWN + "no_request_of_a_real_engine_was_as_fast_as_printed",
               KNOWN + "no_engine_on_the_same_card_was_as_fast_as_printed"),
    ),
    Fault(
        what="cache of 16,384 tokens, read as of 2,048", row="cache of a sequence of 2,048 tokens",
        tests=(KNOWN + "the_printed_cache_is_that_of_16384_tokens",),
    ),
    Fault(
        what="capacity ignores prefill", row="request/s of a replica: 1,920 tokens in, 128 out, 32 slots",
        tests=("test_capacity.py::test_prompts_take_almost_half_of_what_the_decode_rate_promises",
               "test_capacity.py::test_two_replicas_of_the_textbook_are_unstable_and_four_do"),
    ),
    Fault(
        what="p99 = p99 of the wait + mean service: 16 servers of 10 ms at half load", theirs="10 ms", ours="46 ms",
        tests=("test_capacity.py::test_the_p99_of_a_sum_is_not_the_p99_of_the_wait_and_a_mean",),
    ),
    Fault(
        what="layouts that do not fit pass; one microbatch counts",
        row="GPT-3 on 256 H100 (DP 32, TP 4, PP 2) without ZeRO",
        tests=(KNOWN + "a_layout_that_does_not_fit_has_no_step_time",
               KNOWN + "a_layout_whose_microbatches_in_flight_do_not_fit_is_refused"),
    ),
    Fault(
        what="sends of a pipeline take no time", row="idle share of 8 stages, 32 microbatches, 2 ms a send",
        tests=(KNOWN + "sends_of_a_pipeline_take_time",),
    ),
    Fault(
        what="85 % of the gradients' way is hidden, whatever the fabric",
        row="the same with ZeRO 2: a step, half the peak",
        tests=(KNOWN + "no_fixed_share_of_the_communication_is_hidden",),
    ),
    Fault(
        what="imbalance of experts is the user's to know",
        row="fullest expert over the mean: 16 tokens, 2 of 8",
        tests=(KNOWN + "the_fullest_expert_takes_more_than_the_mean",),
    ),
    Fault(
        what="a price that is missing counts as nothing", row="an accelerator whose price is not known",
        tests=(KNOWN + "a_price_that_is_missing_is_not_nothing",),
    ),
    Fault(
        what="energy of 64 H100 for 3 years", row="of which energy, at $0.12/kWh",
        tests=(KNOWN + "the_printed_energy_of_64_h100_would_cost_90_cents_a_kilowatt_hour",),
    ),
    Fault(
        what="the region in a file is ignored: Poland over Norway", theirs="1", ours="22.1",
        tests=(KNOWN + "a_region_in_a_file_counts",),
    ),
    Fault(
        what="intensity is constant", theirs="mean power x mean intensity", ours="mean of the product",
        tests=("test_footprint.py::"
               "test_simulation_covers_the_mean_of_the_product_and_not_the_product_of_the_means",),
    ),
    Fault(
        what="carbon of two regions", row="Poland over Quebec, the same fleet",
        tests=(KNOWN + "the_printed_41_times_the_carbon_is_a_ratio_of_grids",),
    ),
    Fault(
        what="goodput omits rework", row="goodput at it, restarts of 300 s",
        tests=(KNOWN + "goodput_counts_the_work_done_anew",
               "test_training_simulation.py::test_the_goodput_is_the_exact_one"),
    ),
    Fault(
        what="sensitivity at batch 1 only", row="what bandwidth is worth to the step of 512 sequences",
        tests=(KNOWN + "what_is_worth_improving_depends_on_the_batch",),
    ),
    Fault(
        what="a shared cluster's jobs all take equally long", row="mean wait, half full, durations of 1 day with cv 3",
        tests=("test_shared_cluster.py::test_at_a_cv_of_three_the_wait_is_ten_times_that_of_constant"
               "_and_five_times_that_of_exponential_durations",),
    ),
    Fault(
        what="what does not fit exits with 0; unknown commands with the code of physics",
        row="a model that does not fit: exit code", tests=(KNOWN + "exit_codes_have_one_meaning_each",),
    ),
    Fault(
        what="figures of the registry: Trainium2 in bf16", theirs="380 TFLOP/s", ours="667 TFLOP/s",
        tests=("test_accelerators.py::test_figures_that_circulate_wrong_are_right_here",),
    ),
)  # fmt: skip

UNITS = {
    "": 1.0, "ms": 1e3, "s": 1.0, "h": 1 / 3600, "day": 1 / 86_400, "GB": 1e-9, "GB/s": 1e-9, "TB/s": 1e-12, "%": 100.0,
    "M USD": 1e-6, "USD": 1.0, "USD/Mtok": 1e6, "t CO2e": 1e-3, "G": 1e-9, "FLOP/byte": 1.0, "request/s": 1.0,
}  # fmt: skip
"""By what SI numbers (and kgCO2e) are multiplied."""


def evaluate(row: Row, names: dict[str, Any]) -> Numbers:
    """What the row's calls give, with the names of ``SCENARIOS``."""
    return Numbers(
        ours=shown(value(row.call, names), row),
        twin=shown(value(row.twin, names), row) if row.twin else "",
        theirs=shown(reference(row), row) if row.theirs else "",
        band=" to ".join(shown(value(call, names), row) for call in row.band[:2]) if row.band else "",
    )


def scenarios() -> dict[str, Any]:
    """The names that ``SCENARIOS`` makes."""
    names: dict[str, Any] = {}
    exec(SCENARIOS, names)
    return names


def value(call: str, names: dict[str, Any]) -> Any:
    """What a call gives: a value, the error it raised, or a command's exit code."""
    if call.startswith("$ secondorder "):
        from secondorder.cli import main

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return main(shlex.split(call)[2:])
    try:
        return eval(call, names)
    except SecondOrderError as error:
        return error


def reference(row: Row) -> Any:
    """The reference system's number: its call's where it is installed, else the recorded one."""
    names = mlsysim_names()
    return value(row.theirs, names) if names and not row.theirs.startswith("$") else row.recorded


def mlsysim_names() -> dict[str, Any]:
    """The names of its calls; none where it is not installed."""
    try:
        import mlsysim
        from mlsysim import solvers
    except ImportError:
        return {}
    return {**vars(mlsysim), **{name: getattr(solvers, name) for name in solvers.__all__}}


def shown(found: Any, row: Row) -> str:
    """A value as the table has it."""
    match found:
        case None:
            return "none"
        case SecondOrderError():
            return f"refused: {type(found).__name__}"
        case Answer():
            raise TypeError(f"{row.call} is an answer, not a number")
        case Estimate(low=low, high=high) if low is not None and high is not None:
            return f"{number(found.amount, row)} ({number(low, row)} to {number(high, row)}){unit(row)}"
        case Estimate():
            return number(found.amount, row) + unit(row)
        case str():
            return found
        case list():
            return ", ".join(number(each, row) for each in found) + unit(row)
    return number(float(found), row) + unit(row)


def number(amount: float, row: Row) -> str:
    """To so many digits, without an exponent."""
    scaled = amount * UNITS[row.unit]
    if row.digits == 0:
        return f"{scaled:.0f}"
    text = f"{scaled:#.{row.digits}g}"
    return f"{float(text):,.0f}" if "e" in text or text.endswith(".") else text


def unit(row: Row) -> str:
    return f" {row.unit}" if row.unit else ""


# The table and the page


def plain() -> str:
    """For a terminal."""
    names, lines, last = scenarios(), [], ""
    for row in ROWS:
        found = evaluate(row, names)
        if row.workflow != last:
            lines += ["", row.workflow, "─" * len(row.workflow)]
            last = row.workflow
        lines += [row.what, f"    {row.call}", f"    ours {found.ours}"]
        lines += [f"    simulated {found.twin}"] if found.twin else []
        lines += [f"    {REFERENCE} {found.theirs}"] if found.theirs else []
        lines += [f"    {row.why}"]
    return "\n".join(lines[1:])


HEAD = f"""\
# The first-order suite

Every workflow that a user of a first-order calculator expects, with the physics corrected, and simulated where
something is random. Printed by `python benchmarks/first_order.py --markdown`; `tests/test_docs.py` holds the numbers.

The reference system is MLSys·im (Janapa Reddi, 2026), closed forms only. Its numbers are what {REFERENCE} gave
on {RECORDED} to the calls listed at the end; figures of its page are those of version 0.1.2. Simulated numbers are
means with 95 % intervals. *Refused* is an error in one line that says what was given, what was expected and what to
do.

## What the calls are about

```python
"""


def markdown() -> str:
    """The page."""
    names = scenarios()
    found = [evaluate(row, names) for row in ROWS]
    parts = [HEAD, prompted(SCENARIOS), "\n\n```\n\n## The table\n\n", table(found), "\n## The figures of its page\n\n"]
    parts += [figure(row, each) for row, each in zip(ROWS, found, strict=True) if row.derivation]
    parts += [FAULTS_HEAD, faults(found), "\n"]
    parts += ["## The reference system's calls\n\nWith the names of `mlsysim` and `mlsysim.solvers`:\n\n"]
    parts += [f"- {row.workflow}, {row.what}: `{row.theirs}`\n" for row in ROWS if row.theirs]
    return "".join(parts)


def table(found: list[Numbers]) -> str:
    """One line a row."""
    lines = [
        f"| workflow | of what | our call | ours | simulated | {REFERENCE} | why they differ |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row, each in zip(ROWS, found, strict=True):
        cells = (row.workflow, row.what, f"`{row.call}`", each.ours, each.twin, each.theirs, row.why)
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


FAULTS_HEAD = """\
## Known faults, and the tests that show them

Each test writes the wrong form out, and judges it and ours by a simulation, an execution that counts, or a measurement.
Numbers are those of the table above: its page's where it prints one, else its call's; ours simulated where there is a
twin.

"""


def faults(found: list[Numbers]) -> str:
    """One line a fault; its costs are a row's: what the page prints or the call gave, and the simulation's or ours."""
    costs = {row.what: (row.page or each.theirs, each.twin or each.ours) for row, each in zip(ROWS, found, strict=True)}
    lines = ["| fault | MLSys·im | ours | test |", "| --- | --- | --- | --- |"]
    for fault in FAULTS:
        theirs, ours = costs.get(fault.row, (fault.theirs, fault.ours))
        lines.append(f"| {fault.what} | {theirs} | {ours} | {', '.join(f'`{test}`' for test in fault.tests)} |")
    return "\n".join(lines) + "\n"


def figure(row: Row, found: Numbers) -> str:
    """A figure that its page prints: ours, where it comes from, and its band."""
    band = f"\n  Band: {found.band} ({row.band[2]})." if row.band else ""
    return (
        f"- **{row.workflow}, {row.what}**: its page prints {row.page}; ours is {found.ours}.\n"
        f"  {row.derivation}{band}\n\n"
    )


def prompted(source: str) -> str:
    """Statements as the interpreter shows them."""
    lines = source.splitlines()
    starts = {statement.lineno - 1 for statement in ast.parse(source).body}
    return "\n".join(
        (">>> " if at in starts else "... ") + line if line else ">>>" for at, line in enumerate(lines)
    ).replace("\n>>>\n", "\n")


def anew() -> str:
    """The reference system's numbers, to be recorded."""
    if not mlsysim_names():
        raise SystemExit("mlsysim is not installed here")
    names = mlsysim_names()
    return "\n".join(
        f"{row.workflow}, {row.what}: {value(row.theirs, names)!r} (recorded {row.recorded!r})"
        for row in ROWS
        if row.theirs and not row.theirs.startswith("$")
    )


def main(options: list[str]) -> None:
    match options:
        case []:
            print(plain())
        case ["--markdown"]:
            print(markdown(), end="")
        case ["--reference"]:
            print(anew())
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
