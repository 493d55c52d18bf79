"""Claims about nodes, fabrics, storages, clusters and failure rates: every figure is sourced, none contradicts
another, what was published or physics."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from secondorder.cli import main
from secondorder.errors import InputError, UnknownName
from secondorder.fleets.clusters import Cluster, Link, Storage, clusters, fabrics, nodes, storages
from secondorder.fleets.failures import FailureRates, failure_rates, read_failures
from secondorder.quantities import si
from secondorder.zoo import Source, Zoo

ZOOS: dict[str, Zoo[Any]] = {
    "nodes": nodes,
    "fabrics": fabrics,
    "storages": storages,
    "clusters": clusters,
    "failure_rates": failure_rates,
}
EVERY = pytest.mark.parametrize(("noun", "name"), [(noun, name) for noun, zoo in ZOOS.items() for name in zoo])

FIGURES = {
    "nodes": {"accelerator", "accelerators", "link.bandwidth", "link.latency"},
    "fabrics": {"link.bandwidth", "link.latency"},
    "storages": {"write_bandwidth", "read_bandwidth"},
    "clusters": {"node", "nodes", "fabric"},
    "failure_rates": {"per"},
}
OPTIONAL: dict[str, dict[str, Any]] = {
    "nodes": {"power": None},
    "fabrics": {"oversubscription": 1.0},
    "storages": {"node_bandwidth": None},
    "clusters": {"storage": None, "failures": None, "price": None},
    "failure_rates": {"mttf": None, "components": {}},
}
"""What a figure is where no source gives it."""

EXPECTED = {
    "nodes": {
        "dgx_a100",
        "dgx_a100_40gb",
        "dgx_h100",
        "dgx_h200",
        "dgx_b200",
        "gb200_nvl72",
        "gb300_nvl72",
        "grand_teton",
        "jean_zay_a100",
        "mi300x_8",
        "mi325x_8",
        "mi350x_8",
        "mi355x_8",
    },
    "fabrics": {"infiniband_hdr", "infiniband_ndr", "roce_llama_3", "roce_llama_3_pod", "omni_path_jean_zay"},
    "storages": {"tectonic_llama_3", "superpod_good", "superpod_better", "superpod_best", "jean_zay_bloom"},
    "clusters": {
        "llama_3_16k",
        "dgx_a100_superpod",
        "dgx_h100_superpod",
        "dgx_b200_superpod",
        "gb200_nvl72_rack",
        "gb200_superpod",
        "opt_175b",
        "bloom",
        "meta_rsc_1",
        "meta_rsc_2",
    },
    "failure_rates": {"llama_3", "llama_3_by_cause", "meta_rsc_1", "meta_rsc_2", "gpu_and_nic_assumed"},
}


@pytest.mark.parametrize("noun", ZOOS)
def test_what_training_is_known_to_have_run_on_is_there(noun: str) -> None:
    assert set(ZOOS[noun]) >= EXPECTED[noun]


# Sources


@EVERY
def test_every_figure_has_a_source_and_nothing_else_has(noun: str, name: str) -> None:
    entry = ZOOS[noun][name]
    given = {field for field, absent in OPTIONAL[noun].items() if getattr(entry, field) != absent}
    stated = FIGURES[noun] | given
    assert stated <= set(entry.sources) <= stated | {"oversubscription"}


@EVERY
def test_a_source_can_be_found_and_says_when_it_was_checked_or_what_was_compared(noun: str, name: str) -> None:
    for source in ZOOS[noun][name].sources.values():
        assert source.title
        assert source.date[:4].isdigit()
        assert source.url.startswith("https://") or source.title.startswith("Assumption")
        if source.checked:
            assert date.fromisoformat(source.checked) >= date(2026, 11, 1)
        else:
            assert source.note


def test_an_assumption_says_so_and_no_published_entry_rests_on_one() -> None:
    def assumed(source: Source) -> bool:
        return source.title.startswith("Assumption")

    resting = {
        f"{noun}.{name}"
        for noun, zoo in ZOOS.items()
        for name, entry in zoo.items()
        if any(map(assumed, entry.sources.values()))
    }
    assert resting == {"failure_rates.gpu_and_nic_assumed", "storages.jean_zay_bloom"}
    assert all(
        cluster.failures is not failure_rates.gpu_and_nic_assumed for cluster in map(clusters.__getitem__, clusters)
    )
    assert "not a measurement" in failure_rates.gpu_and_nic_assumed.note


# Physics


@pytest.mark.parametrize("name", nodes)
def test_a_node_has_the_links_of_its_accelerators(name: str) -> None:
    node = nodes[name]
    assert node.accelerator.link_bandwidth is not None
    assert si(node.link.bandwidth) == si(node.accelerator.link_bandwidth)


@pytest.mark.parametrize("name", nodes)
def test_a_node_draws_more_than_its_accelerators_and_less_than_three_times_as_much(name: str) -> None:
    node = nodes[name]
    if node.power is not None:
        assert 1.2 < si(node.power) / (node.accelerators * si(node.accelerator.power)) < 3


@pytest.mark.parametrize("name", fabrics)
def test_a_fabric_carries_what_network_cards_can(name: str) -> None:
    """Within these bounds bits cannot pass for bytes: cards have 50 to 800 Gb/s for an accelerator."""
    link = fabrics[name].link
    assert 50e9 / 8 <= si(link.bandwidth) <= 800e9 / 8
    assert 1e-6 <= si(link.latency) <= 100e-6
    assert 1 <= fabrics[name].oversubscription <= 10


@pytest.mark.parametrize("name", clusters)
def test_the_node_is_faster_than_the_fabric(name: str) -> None:
    cluster = clusters[name]
    assert si(cluster.node.link.bandwidth) > 5 * si(cluster.fabric.link.bandwidth)
    assert si(cluster.node.link.latency) < si(cluster.fabric.link.latency)


@pytest.mark.parametrize("name", storages)
def test_storage_reads_no_slower_than_it_writes_and_one_node_no_faster_than_all(name: str) -> None:
    storage = storages[name]
    assert 1e10 <= si(storage.write_bandwidth) <= si(storage.read_bandwidth) <= 1e13
    if storage.node_bandwidth is not None:
        assert si(storage.node_bandwidth) < si(storage.write_bandwidth)


@pytest.mark.parametrize("name", clusters)
def test_storage_takes_no_more_than_the_fabric_brings(name: str) -> None:
    cluster = clusters[name]
    if cluster.storage is not None:
        assert si(cluster.storage.write_bandwidth) < cluster.accelerators * si(cluster.fabric.link.bandwidth)


@pytest.mark.parametrize("name", failure_rates)
def test_one_accelerator_or_node_fails_once_in_months_to_decades(name: str) -> None:
    """From thirty days to twenty years: hours cannot pass for seconds or days."""
    assert 30 * 86_400 < failure_rates[name].mtbf(1) < 20 * 365 * 86_400


# Published counts


ACCELERATORS = {
    "llama_3_16k": 16_384,
    "dgx_a100_superpod": 1120,
    "dgx_h100_superpod": 1016,
    "dgx_b200_superpod": 1024,
    "gb200_nvl72_rack": 72,
    "gb200_superpod": 576,
    "opt_175b": 992,
    "bloom": 384,
    "meta_rsc_1": 16_000,
    "meta_rsc_2": 8000,
}


def test_a_cluster_has_the_accelerators_that_were_published() -> None:
    assert {name: cluster.accelerators for name, cluster in clusters.items()} == ACCELERATORS


PEAKS = {"gb200_nvl72": 180e15, "dgx_h100": 8 * 989e12, "dgx_a100": 2.5e15, "mi300x_8": 10.46e15}
"""Dense bf16 of the whole system, as its maker prints it (half of the sparse 360 PFLOP/s, and of 5 PFLOP/s)."""


@pytest.mark.parametrize(("name", "peak"), PEAKS.items())
def test_a_node_has_the_peak_of_its_datasheet(name: str, peak: float) -> None:
    node = nodes[name]
    assert node.accelerators * node.accelerator.peak_flops("bf16") == pytest.approx(peak, rel=0.005)


# Failures

DAYS, GPUS = 54, 16_384
CAUSES = {
    "faulty_gpu": 148,
    "gpu_hbm3_memory": 72,
    "software_bug": 54,
    "network_switch_or_cable": 35,
    "host_maintenance": 32,
    "gpu_sram_memory": 19,
    "gpu_system_processor": 17,
    "nic": 7,
    "nccl_watchdog_timeout": 7,
    "silent_data_corruption": 6,
    "gpu_thermal_interface": 6,
    "ssd": 3,
    "power_supply": 3,
    "server_chassis": 2,
    "io_expansion_board": 2,
    "dependency": 2,
    "cpu": 2,
    "system_memory": 2,
}
"""Table 5 of arXiv 2407.21783."""
ROUNDED = 1e-6
"""The hours in the file are rounded to 0.1 in 50,677 or finer: 1e-6 of them."""


def in_the_snapshot(rates: FailureRates) -> float:
    """Failures expected in the 54 days of 16,384."""
    return DAYS * 86_400 / rates.mtbf(GPUS)


def test_llama_3_failed_419_times_in_54_days() -> None:
    assert in_the_snapshot(failure_rates.llama_3) == pytest.approx(419, rel=ROUNDED)
    assert failure_rates.llama_3.mtbf(GPUS) == pytest.approx(DAYS * 86_400 / 419, rel=ROUNDED)
    assert round(failure_rates.llama_3.mtbf(GPUS)) == 11_135
    assert round(failure_rates.llama_3.mtbf(1) / 3600) == 50_677


def test_the_causes_are_those_of_the_table_and_sum_to_all() -> None:
    by_cause = failure_rates.llama_3_by_cause
    assert sum(CAUSES.values()) == 419
    found = {cause: GPUS * DAYS * 86_400 / si(mttf) for cause, mttf in by_cause.components.items()}
    assert found == pytest.approx(CAUSES, rel=ROUNDED)
    assert by_cause.rate == pytest.approx(failure_rates.llama_3.rate, rel=2 * ROUNDED)


def test_the_percentages_of_the_table_would_not_do() -> None:
    """The table prints 30.1 % for the 148 faulty GPUs: of 419 that is 126."""
    wrong = replace(failure_rates.llama_3_by_cause, components={"faulty_gpu": f"{GPUS * DAYS * 24 / (0.301 * 419)} h"})
    assert abs(in_the_snapshot(wrong) - 148) > 20


def test_assumed_components_give_2_289_h_and_a_third_more_failures_than_were_seen() -> None:
    assumed = failure_rates.gpu_and_nic_assumed
    assert assumed.mtbf(GPUS) / 3600 == pytest.approx(50_000 * 150_000 / 200_000 / GPUS, rel=1e-12)
    assert round(assumed.mtbf(GPUS) / 3600, 3) == 2.289
    assert round(in_the_snapshot(assumed)) == 566
    seen, spread = 419, 419**0.5
    assert in_the_snapshot(assumed) > seen + 7 * spread  # not by chance: counts are Poisson


def test_an_all_cause_figure_refuses_the_components_that_it_already_has() -> None:
    with pytest.raises(InputError, match="already counts its components"):
        replace(failure_rates.llama_3, components={"nic": "150000 h"})


def test_meta_research_clusters_meet_their_projection_and_miss_their_measurement() -> None:
    rates = failure_rates.meta_rsc_1
    assert rates.rate * 86_400 * 1000 == pytest.approx(6.50, rel=ROUNDED)
    assert failure_rates.meta_rsc_2.rate * 86_400 * 1000 == pytest.approx(2.34, rel=ROUNDED)
    assert rates.mtbf(GPUS // 8) / 3600 == pytest.approx(1.8, abs=0.05)  # printed to one decimal
    assert rates.mtbf(1024 // 8) / 3600 == pytest.approx(28.8, abs=0.05)  # 7.9 h were measured: 1/N does not hold
    assert "7.9 h" in rates.note


def test_rates_per_node_count_nodes_and_rates_per_accelerator_accelerators() -> None:
    llama, rsc = clusters.llama_3_16k, clusters.meta_rsc_1
    assert llama.failures is not None
    assert rsc.failures is not None
    assert llama.count(llama.failures.per) == 16_384
    assert rsc.count(rsc.failures.per) == 2000
    assert llama.failures.process(16_384).mtbf == pytest.approx(llama.failures.mtbf(16_384))


# The types


def test_a_link_takes_its_latency_and_its_bytes() -> None:
    link = Link(bandwidth="400 Gb/s", latency="14 us")
    assert link.seconds(0) == pytest.approx(14e-6)
    assert link.seconds(50e9) - link.seconds(0) == pytest.approx(1)


def test_few_nodes_cannot_fill_the_storage_and_many_cannot_exceed_it() -> None:
    storage = storages.superpod_better
    assert storage.write_seconds(80e9, nodes=1) == pytest.approx(20)  # one node: 4 GB/s
    assert storage.write_seconds(80e9, nodes=20) == pytest.approx(1)
    assert storage.write_seconds(80e9, nodes=127) == pytest.approx(1)


def test_a_small_cluster_does_not_fill_a_large_storage_through_its_links() -> None:
    fast = Storage(write_bandwidth="7 TB/s", read_bandwidth="7 TB/s")
    small, large = (replace(clusters.llama_3_16k, nodes=nodes) for nodes in (4, 2048))
    assert small.write_seconds(1.6e12, fast) == pytest.approx(1.0)  # 32 links of 50 GB/s
    assert large.write_seconds(1.6e12, fast) == pytest.approx(1.6 / 7)


def test_bloom_wrote_its_checkpoint_in_40_s() -> None:
    storage = clusters.bloom.storage
    assert storage is not None
    assert storage.write_seconds(2.3e12, nodes=48) == pytest.approx(40)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        replace(fabrics.infiniband_ndr, oversubscription=0.5)
    with pytest.raises(InputError, match="other_write"):
        Storage(write_bandwidth="1 GB/s", read_bandwidth="1 GB/s", busy=0.5)
    with pytest.raises(InputError, match="nodes"):
        Cluster(name="none", node=nodes.dgx_h100, nodes=0, fabric=fabrics.infiniband_ndr)
    with pytest.raises(UnknownName, match="did you mean dgx_h100"):
        nodes["dgx_h10"]


# On the command line


@pytest.mark.parametrize("noun", ZOOS)
def test_a_list_names_every_entry_within_80_columns(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", noun]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines[2:]} == set(ZOOS[noun])


@EVERY
def test_an_entry_shows_its_figures_and_where_they_are_from(
    noun: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", noun, name]) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if "https://" not in line) <= 80
    for source in ZOOS[noun][name].sources.values():
        assert source.url in printed
    for figure in FIGURES[noun]:
        assert figure in printed


def test_bandwidth_and_latency_of_a_link_have_sources_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "fabrics", "roce_llama_3", "--format", "json"]) == 0
    records = {record["figure"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["link.bandwidth"]["value"] == 50e9
    assert "Llama 3" in records["link.bandwidth"]["source"]
    assert "NCCL" in records["link.latency"]["source"]


def test_json_gives_the_parts_of_a_cluster_by_name_and_its_numbers_in_si(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "clusters", "llama_3_16k", "--format", "json"]) == 0
    found = {record["figure"]: record["value"] for record in json.loads(capsys.readouterr().out)}
    assert found["node"] == "grand_teton"
    assert found["fabric"] == "roce_llama_3"
    assert found["accelerators"] == 16_384
    assert found["mtbf"] == pytest.approx(11_135, abs=0.5)


def test_bursts_at_a_stated_overall_mean_time_between_failures() -> None:
    storms = "mtbf_storm=10 min calm=20 h storm=2 h"
    stated = read_failures(f"bursts overall=1.5 h {storms}")
    assert stated.mtbf == pytest.approx(1.5 * 3600)
    assert read_failures(f"bursts {stated.mtbf_calm.m!r} s {storms}") == stated
    with pytest.raises(InputError, match="overall: got 10800 s, expected less than 6600 s, what the storms alone give"):
        read_failures(f"bursts overall=3 h {storms}")
    with pytest.raises(InputError, match="mtbf_calm: got 0 s"):
        read_failures(f"bursts {storms}")
