"""Each recipe of CONTRIBUTING, carried out here: what it adds works without a change to any file of the package."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

import grimp
import numpy as np
import pytest
from random_services import by_hand, milliseconds

from secondorder.fleets.failures import PlatformRenewal
from secondorder.quantities import Count
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.router import RandomReplica
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.training import Checkpoint, Recovery, Training
from secondorder.simulate.deployment.router import Load, Rule, rule_of
from secondorder.simulate.deployment.run import run as serve
from secondorder.simulate.serving import draw
from secondorder.simulate.serving.policies import LeastRecentlyReleased, Policies
from secondorder.simulate.training import Causes, Story, run, simulate_training, tell
from secondorder.simulate.training.checkpoints import Blocking, Job, saving
from secondorder.simulate.training.failures import gaps
from secondorder.simulate.training.recorder import Process
from secondorder.workloads.lengths import Lengths

# A checkpoint: written twice, and good only when both copies are


@dataclass(frozen=True, kw_only=True)
class TwoCopies(Checkpoint):
    """Training stops for two writes, one after the other."""

    def stop(self, write: float) -> float:
        return 2 * write


class WritesTwice(Blocking):
    def save(self) -> Process:
        yield from self.job.write("write")
        yield from super().save()


@saving.register
def _(policy: TwoCopies, job: Job) -> Blocking:
    return WritesTwice(job)


# A failure process: every gap as long as the one before, times a factor


@dataclass(frozen=True, kw_only=True)
class EverRarer(PlatformRenewal):
    """The first gap is the mean of the law, each later one ``factor`` times as long as the one before."""

    factor: Count


@gaps.register
def _(process: EverRarer, rng: np.random.Generator) -> Iterator[float]:
    gap = process.mtbf
    while True:
        yield gap
        gap *= process.factor


# A rule of eviction: the block that was released last goes first


class MostRecentlyReleased(LeastRecentlyReleased):
    def add(self, block: int, content: Hashable | None) -> None:
        super().add(block, content)
        self.queue.move_to_end(block, last=False)


# A router: the replica with the highest number


@dataclass(frozen=True, kw_only=True)
class Highest(RandomReplica):
    """The replica with the highest number among those that are up."""


@rule_of.register
def _(kind: Highest, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return lambda ask, up: up[-1]


def told(scenario: Training, *failures: float) -> Story:
    return tell(scenario, Causes(failures=iter([*failures, float("inf")])))


def phases(story: Story) -> list[str]:
    return [f"{start:g}-{end:g} {phase}" for phase, start, end in story.phases]


PLAIN = Training(
    failures="exponential 3 h",
    checkpoint=Checkpoint(interval="100 s", write="10 s"),
    recovery=Recovery(restart="20 s"),
    duration="1000 s",
)


def test_a_new_kind_of_checkpoint_is_a_type_and_a_class() -> None:
    scenario = replace(PLAIN, checkpoint=TwoCopies(interval="100 s", write="10 s"), duration="260 s")
    assert scenario.blocking_seconds == 20
    assert phases(told(scenario, 115.0)) == [
        "0-100 work",
        "100-110 write",
        "110-115 write",
        "115-135 restart",
        "135-235 work",
        "235-245 write",
        "245-255 write",
        "255-260 work",
    ]
    assert simulate_training(scenario, replications=2).best("checkpoint_share").amount == pytest.approx(40 / 260)


def test_a_new_failure_process_is_a_type_and_a_generator() -> None:
    scenario = replace(PLAIN, failures=EverRarer(gap="50 s", factor=2))
    assert run(scenario).failures.tolist() == [50, 150, 350, 750]
    assert simulate_training(scenario, replications=2).best("failures_mean").amount == 4


def test_a_new_rule_of_eviction_is_a_class() -> None:
    # Two prompts of one block leave a cache of three blocks with one that is empty; the third prompt takes it, or
    # the block of the second.
    asks, ids = [(0, 4, 1), (5, 4, 1), (10, 4, 1), (15, 5, 1)], ([1], [2], [3], [2, 4])
    case = by_hand(asks, hash_ids=ids, blocks=3, enable_prefix_caching=True)
    milliseconds(case, "finish")
    assert list(case.record().cached) == [0, 0, 0, 4]
    other = replace(case, policies=Policies(free_blocks=MostRecentlyReleased))
    assert list(other.record().cached) == [0, 0, 0, 0]


def test_a_new_router_is_a_type_and_a_rule() -> None:
    serving = Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="poisson 8 request/s",
        lengths=Lengths(input=64, output=4),
    )
    picked = {
        router: set(
            serve(Deployment(serving=serving, replicas=3, router=router), draw(serving, 50)).requests["replica"]
        )
        for router in (RandomReplica(), Highest())
    }
    assert picked == {RandomReplica(): {0, 1, 2}, Highest(): {2}}


def test_no_two_modules_of_the_simulators_import_each_other() -> None:
    graph = grimp.build_graph("secondorder", include_external_packages=False, cache_dir=None)
    simulators = [name for name in graph.modules if name.startswith("secondorder.simulate.")]
    modules = [name for name in simulators if not graph.find_children(name)]
    imports = {name: graph.find_modules_directly_imported_by(name) for name in modules}
    assert imports["secondorder.simulate.training.job"]
    assert not [name for name in modules if name in _reached(imports, name)]


def _reached(imports: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = list(imports[start])
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += imports.get(name, ())
    return found
