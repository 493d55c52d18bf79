"""What each kind of scenario is measured by: names, units and statistics, for closed forms and simulations alike."""

from secondorder.answers.metric import EXTREMES, LATENCIES, MEAN_AND_QUANTILES, REQUEST_LATENCIES, Metric

TIERS = (
    Metric(name="fetch", unit="s", statistics=MEAN_AND_QUANTILES),
    Metric(name="link_utilisation"),
    Metric(name="write_utilisation"),
    Metric(name="clairvoyant_hit_rate"),
)
"""Of the cache's lower tiers; each has its own share of the hits and its own links."""

CAPACITY = (
    Metric(name="replicas"),
    Metric(name="saturation_rate", unit="request/s"),
    Metric(name="utilisation"),
    *LATENCIES,
    Metric(name="cost", unit="USD/hour"),
    Metric(name="cost_per_request", unit="USD/request"),
    Metric(name="cost_per_token", unit="USD/token"),
)

CLOSED_LOOP = (
    Metric(name="throughput", unit="request/s"),
    Metric(name="concurrency"),
    *(metric for metric in LATENCIES if metric.name in REQUEST_LATENCIES),
)

COLLECTIVE = (
    Metric(name="time", unit="s", statistics=("mean", "p99")),
    Metric(name="algorithm_bandwidth", unit="byte/s"),
    Metric(name="bus_bandwidth", unit="byte/s"),
    Metric(name="stage_cost"),
)

DATA_LOADING = (
    Metric(name="throughput", unit="sample/s"),
    Metric(name="step_time", unit="s", statistics=("mean",)),
    Metric(name="starvation"),
    Metric(name="worker_utilisation"),
    Metric(name="storage_utilisation"),
)

DEPLOYMENT = (
    *LATENCIES,
    Metric(name="request_throughput", unit="request/s"),
    Metric(name="request_goodput", unit="request/s"),
    Metric(name="running", statistics=("mean",)),
    Metric(name="prefix_hit_rate"),
    *TIERS,
    Metric(name="preemptions_per_request"),
    Metric(name="imbalance"),
    Metric(name="attempts", statistics=("mean",)),
    Metric(name="served_share"),
    Metric(name="refused_share"),
    Metric(name="timed_out_share"),
    Metric(name="lost_share"),
    Metric(name="wasted_share"),
    Metric(name="availability"),
    Metric(name="replicas", statistics=("mean",)),
    Metric(name="replica_hours"),
    Metric(name="goodput_lost", unit="request"),
    Metric(name="ttft_p99_around", unit="s"),
    Metric(name="recovery_time", unit="s"),
    Metric(name="saturation_rate", unit="request/s"),
    Metric(name="utilisation"),
)

EXPERT_ROUTING = (
    Metric(name="imbalance"),
    Metric(name="max_load", unit="token", statistics=("mean", "p99")),
    Metric(name="dropped_share"),
    Metric(name="active_experts", statistics=("mean",)),
    Metric(name="slowdown"),
)

FOOTPRINT = (
    Metric(name="utilisation"),
    Metric(name="energy", unit="kWh"),
    Metric(name="carbon_operational", unit="kgCO2e"),
    Metric(name="carbon_embodied", unit="kgCO2e"),
    Metric(name="carbon", unit="kgCO2e"),
    Metric(name="water", unit="L"),
    Metric(name="energy_per_request", unit="kWh/request"),
    Metric(name="carbon_per_request", unit="kgCO2e/request"),
    Metric(name="carbon_per_token", unit="kgCO2e/token"),
)

INFERENCE = (
    Metric(name="latency", unit="s", statistics=("mean", "p99")),
    Metric(name="throughput", unit="sample/s"),
    Metric(name="device_utilisation"),
)

MAX_RATE = (
    Metric(name="max_rate", unit="request/s"),
    *LATENCIES,
    Metric(name="cost", unit="USD/hour"),
    Metric(name="cost_per_input_token", unit="USD/token"),
    Metric(name="cost_per_output_token", unit="USD/token"),
)

OWNERSHIP = (
    Metric(name="energy_cost", unit="USD"),
    Metric(name="total_cost", unit="USD"),
    Metric(name="cost_per_hour", unit="USD/hour"),
    Metric(name="energy", unit="kWh"),
    Metric(name="utilisation"),
    Metric(name="accelerators_on"),
    Metric(name="rental_cost", unit="USD"),
    Metric(name="cost_per_request", unit="USD/request"),
    Metric(name="cost_per_token", unit="USD/token"),
    Metric(name="rental_per_request", unit="USD/request"),
    Metric(name="prob_wait"),
    Metric(name="wait", unit="s", statistics=("mean", "p99")),
    Metric(name="within_objective"),
    Metric(name="cost_per_request_within", unit="USD/request"),
)

PIPELINE = (
    Metric(name="time", unit="s", statistics=("mean", "p99")),
    Metric(name="bubble_fraction"),
    Metric(name="in_flight"),
)

QUEUE = (
    Metric(name="wait", unit="s", statistics=MEAN_AND_QUANTILES),
    Metric(name="wait_mean_all", unit="s"),
    Metric(name="prob_wait"),
    Metric(name="response", unit="s", statistics=MEAN_AND_QUANTILES),
    Metric(name="number", statistics=("mean",)),
    Metric(name="queue", statistics=("mean",)),
    Metric(name="utilisation"),
    Metric(name="throughput", unit="request/s"),
    Metric(name="goodput", unit="request/s"),
    Metric(name="blocking_prob"),
    Metric(name="abandonment_prob"),
    Metric(name="attempts", statistics=("mean",)),
    Metric(name="batch", statistics=("mean",)),
)

ROOFLINE = (
    Metric(name="latency", unit="s"),
    Metric(name="compute", unit="s"),
    Metric(name="memory", unit="s"),
    Metric(name="overhead", unit="s"),
    Metric(name="throughput", unit="sample/s"),
    Metric(name="flops", unit="FLOP"),
    Metric(name="bytes", unit="byte"),
    Metric(name="intensity", unit="FLOP/byte"),
    Metric(name="ridge_point", unit="FLOP/byte"),
    Metric(name="mfu"),
    Metric(name="footprint", unit="byte"),
    Metric(name="energy", unit="J"),
    Metric(name="energy_per_input", unit="J"),
)

SERVING = (
    *LATENCIES,
    Metric(name="request_throughput", unit="request/s"),
    Metric(name="output_throughput", unit="token/s"),
    Metric(name="request_goodput", unit="request/s"),
    Metric(name="running", statistics=("mean",)),
    Metric(name="waiting", statistics=("mean",)),
    Metric(name="kv_usage", statistics=("mean",)),
    Metric(name="preemptions_per_request"),
    Metric(name="prefix_hit_rate"),
    *TIERS,
    Metric(name="saturation_rate", unit="request/s"),
    Metric(name="utilisation"),
)

QUEUE_NETWORK = (
    Metric(name="response", unit="s", statistics=("mean", "p99")),
    Metric(name="customers", statistics=("mean",)),
    Metric(name="wait", unit="s", statistics=("mean",)),
    Metric(name="utilisation"),
    Metric(name="visits"),
)

ROSTER = (
    Metric(name="wait", unit="s", statistics=("mean", "p99")),
    Metric(name="prob_wait"),
    Metric(name="utilisation"),
)

SHARED_CLUSTER = (
    Metric(name="wait", unit="s", statistics=("mean", "p99")),
    Metric(name="response", unit="s", statistics=("mean",)),
    Metric(name="slowdown", statistics=("mean",)),
    Metric(name="utilisation"),
    Metric(name="fragmentation"),
    Metric(name="saturation_rate", unit="job/s"),
)

TRAINING = (
    Metric(name="goodput", statistics=tuple(EXTREMES)),
    Metric(name="goodput"),
    Metric(name="checkpoint_share"),
    Metric(name="rework_share"),
    Metric(name="restart_share"),
    Metric(name="downtime_share"),
    Metric(name="failures", statistics=("mean", *EXTREMES)),
    Metric(name="availability"),
    Metric(name="time_to_train", unit="s"),
    Metric(name="throughput", unit="token/s"),
    Metric(name="segment_time", unit="s", statistics=("mean", "sd")),
    Metric(name="step_time", unit="s", statistics=("sd",)),
    Metric(name="redraws", statistics=("mean",)),
)
