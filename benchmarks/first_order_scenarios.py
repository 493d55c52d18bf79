"""What the rows of the first-order suite are about, as its page shows it."""

# ruff: noqa: F401 (the rows' own imports stand on the page too)
# fmt: off
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
plain = {"max_num_batched_tokens": 2048, "enable_prefix_caching": False, "async_scheduling": False}
chat = so.Serving(
    model=llama, accelerator=h100, arrivals=so.Poisson("8 request/s"), lengths=so.lengths.azure_conv_2023,
    max_num_seqs=256, **plain)
replica = so.Serving(
    model=llama, accelerator=h100, arrivals=so.Poisson("8 request/s"), lengths=so.Lengths(input=1920, output=128),
    max_num_seqs=32, **plain,
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
        arrivals=so.Poisson("1 request/s"), lengths=so.Lengths(input=512, output=256),
        max_num_seqs=256, **plain),
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
