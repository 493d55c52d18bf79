"""Our scheduler against states that vLLM's own left behind: no real engine is needed."""

import json

import pytest
from oracle.golden import GOLDEN, PER_VERSION, fingerprint, first_unlike
from oracle.ours import states
from oracle.workloads import VERSIONS, workload

TRACES = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_step_is_that_of_the_real_scheduler(version: str) -> None:
    assert len(TRACES[version]) == PER_VERSION
    for seed, real in TRACES[version].items():
        step = first_unlike(fingerprint(states(workload(int(seed), version), version)), real)
        assert step is None, f"step {step} differs: see oracle.compare --version {version} --bisect {seed}"


def test_the_rules_of_another_version_fail() -> None:
    """Sharp enough to tell the versions apart."""
    real = TRACES["0.33.0"]
    assert any(fingerprint(states(workload(int(seed), "0.33.0"), "0.19.0")) != real[seed] for seed in real)
