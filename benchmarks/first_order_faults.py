"""What the reference system gets wrong, and the tests that show it."""

from dataclasses import dataclass


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


KNOWN = "test_known_faults.py::test_"
FAULTS = (
    Fault(
        what="decoding never leaves the memory side and has no compute term",
        row="a decode step of 512 sequences, 17 tokens each",
        tests=(
            KNOWN + "decode_leaves_the_memory_side",
            KNOWN + "served_decoding_has_a_compute_term",
            KNOWN + "a_single_request_is_bound_by_memory",
        ),
    ),
    Fault(
        what="small models are not reported as overhead-bound",
        row="what binds it",
        tests=(
            KNOWN + "small_models_are_bound_by_overhead",
            KNOWN + "small_models_are_bound_by_overhead_as_measured",
            "test_inference.py::test_the_sum_of_taxes_and_the_means_miss_what_the_simulation_shows",
        ),
    ),
    Fault(
        what="multiply-accumulates count as one FLOP: ResNet-50",
        theirs="4.1 GFLOP",
        ours="8.18 GFLOP",
        tests=(KNOWN + "macs_are_not_flops_in_a_network", KNOWN + "macs_are_not_flops_in_a_transformer"),
    ),
    Fault(
        what="a precision that the accelerator lacks runs at the rate of fp16",
        row="fp8 on an A100, which has none",
        tests=(
            KNOWN + "a_precision_that_the_part_lacks_is_refused",
            KNOWN + "a_precision_has_a_rate_of_its_own_as_measured",
        ),
    ),
    Fault(
        what="time to first token of 128 tokens, given for any prompt",
        row="time to first token, prompt of 2,048, idle, half the peak",
        tests=(
            KNOWN + "the_printed_latencies_of_a_single_request_are_impossible",
            KNOWN + "no_request_of_a_real_engine_was_as_fast_as_printed",
        ),
    ),
    Fault(
        what="tokens come faster than the weights can be read",
        row="time per output token, batch 1, at 2,048 tokens",
        tests=(
            KNOWN + "no_request_of_a_real_engine_was_as_fast_as_printed",
            KNOWN + "no_engine_on_the_same_card_was_as_fast_as_printed",
        ),
    ),
    Fault(
        what="cache of 16,384 tokens, given for 2,048",
        row="cache of a sequence of 2,048 tokens",
        tests=(KNOWN + "the_printed_cache_is_that_of_16384_tokens",),
    ),
    Fault(
        what="capacity ignores prefill",
        row="request/s of a replica: 1,920 tokens in, 128 out, 32 slots",
        tests=(
            "test_capacity.py::test_prompts_take_almost_half_of_what_the_decode_rate_promises",
            "test_capacity.py::test_two_replicas_of_the_textbook_are_unstable_and_four_do",
        ),
    ),
    Fault(
        what="p99 = p99 of the wait + mean service: 16 servers of 10 ms at half load",
        theirs="10 ms",
        ours="46 ms",
        tests=("test_capacity.py::test_the_p99_of_a_sum_is_not_the_p99_of_the_wait_and_a_mean",),
    ),
    Fault(
        what="layouts that do not fit pass; only one microbatch is counted",
        row="GPT-3 on 256 H100 (DP 32, TP 4, PP 2) without ZeRO",
        tests=(
            KNOWN + "a_layout_that_does_not_fit_has_no_step_time",
            KNOWN + "a_layout_whose_microbatches_in_flight_do_not_fit_is_refused",
        ),
    ),
    Fault(
        what="sends of a pipeline take no time",
        row="idle share of 8 stages, 32 microbatches, 2 ms a send",
        tests=(KNOWN + "sends_of_a_pipeline_take_time",),
    ),
    Fault(
        what="85 % of the gradient communication is hidden, whatever the fabric",
        row="the same with ZeRO 2: a step, half the peak",
        tests=(KNOWN + "no_fixed_share_of_the_communication_is_hidden",),
    ),
    Fault(
        what="the imbalance of experts is an input",
        row="fullest expert over the mean: 16 tokens, 2 of 8",
        tests=(KNOWN + "the_fullest_expert_takes_more_than_the_mean",),
    ),
    Fault(
        what="a price that is missing counts as nothing",
        row="an accelerator whose price is not known",
        tests=(KNOWN + "a_price_that_is_missing_is_not_nothing",),
    ),
    Fault(
        what="energy cost of 64 H100 for 3 years",
        row="of which energy, at $0.12/kWh",
        tests=(KNOWN + "the_printed_energy_of_64_h100_would_cost_90_cents_a_kilowatt_hour",),
    ),
    Fault(
        what="the region in a file is ignored: Poland over Norway",
        theirs="1",
        ours="22.1",
        tests=(KNOWN + "a_region_in_a_file_counts",),
    ),
    Fault(
        what="carbon intensity is constant",
        theirs="mean power x mean intensity",
        ours="mean of the product",
        tests=("test_footprint.py::test_simulation_covers_the_mean_of_the_product_and_not_the_product_of_the_means",),
    ),
    Fault(
        what="carbon of two regions",
        row="Poland over Quebec, the same fleet",
        tests=(KNOWN + "the_printed_41_times_the_carbon_is_a_ratio_of_grids",),
    ),
    Fault(
        what="goodput omits lost work",
        row="goodput at it, restarts of 300 s",
        tests=(
            KNOWN + "goodput_counts_the_work_done_anew",
            "test_training_simulation.py::test_the_goodput_is_the_exact_one",
        ),
    ),
    Fault(
        what="sensitivity at batch 1 only",
        row="what bandwidth is worth to the step of 512 sequences",
        tests=(KNOWN + "what_is_worth_improving_depends_on_the_batch",),
    ),
    Fault(
        what="a shared cluster's jobs all take equally long",
        row="mean wait, half full, durations of 1 day with cv 3",
        tests=(
            "test_shared_cluster.py::test_a_cv_of_three_waits_ten_times_constant_and_five_times_exponential_durations",
        ),
    ),
    Fault(
        what="a model that does not fit exits with 0; an unknown command exits with the code of an infeasible system",
        row="a model that does not fit: exit code",
        tests=(KNOWN + "exit_codes_have_one_meaning_each",),
    ),
    Fault(
        what="wrong figures in the registry: Trainium2 in bf16",
        theirs="380 TFLOP/s",
        ours="667 TFLOP/s",
        tests=("test_accelerators.py::test_figures_that_circulate_wrong_are_right_here",),
    ),
)
