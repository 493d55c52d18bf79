"""Speculative decoding on SimPy, round by round: a draft proposes, the model checks, sequences keep what they may."""

from collections import deque
from dataclasses import dataclass
from functools import partial

import numpy as np
import simpy

from secondorder.answers.answer import Answer
from secondorder.answers.metric import LATENCIES, Metric
from secondorder.scenarios.speculative import Speculative
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.engine import Process
from secondorder.simulate.streams import stream

LENGTH = 300
"""Requests of a replication; an eighth at each end is cut."""
METRICS = (
    *LATENCIES,
    Metric(name="tokens_per_round"),
    Metric(name="running", statistics=("mean",)),
    Metric(name="speedup"),
)


@dataclass(eq=False)
class Sequence:
    """A request: its tokens, when it came, and how far it is. Times in s."""

    arrival: float
    prompt: int
    output: int
    emitted: int = 0
    first: float = 0.0
    finish: float = 0.0


def simulate_speculative(scenario: Speculative, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent replications, with the draft and, on the same draws, without it.

    Between two rounds waiting requests are admitted, as many as slots and cache allow for their whole length, and their
    prompts are computed by both models, within the token budget of a step. Each proposed token is accepted
    independently; a round brings the accepted ones up to the first that is not, and one of the model's own.
    """
    found = replicated(partial(_both, scenario, seed), replications, jobs, least=2)
    how = f"simulated: {replications} replications of {LENGTH:,} requests, an eighth at each end cut"
    return Answer(scenario=scenario.name, estimates=estimates(found, METRICS), how=how)


def _both(scenario: Speculative, seed: int, replication: int) -> Amounts:
    found, without = (_one(scenario, gamma, seed, replication) for gamma in (scenario.gamma, 0))
    return {**found, "speedup": without["tpot_mean"] / found["tpot_mean"]}


class Rounds:
    """One engine with its draft; ``gamma`` 0 is the engine alone."""

    def __init__(self, env: simpy.Environment, scenario: Speculative, gamma: int, chance: np.random.Generator) -> None:
        self.env, self.scenario, self.gamma, self.chance = env, scenario, gamma, chance
        self.room = scenario.kv_tokens if gamma else scenario.serving.kv_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.held = 0
        self.asleep: simpy.Event | None = None
        self.steps = self.tokens = 0  # rounds of single sequences, and what they brought
        self.area = 0.0

    def submit(self, sequence: Sequence) -> None:
        """A request arrives."""
        self.waiting.append(sequence)
        if self.asleep is not None:
            self.asleep.succeed()
            self.asleep = None

    def run(self) -> Process:
        """Admit, compute prompts, and a round of all that run; asleep while there is nobody."""
        while True:
            admitted = self.admit()
            if admitted:
                yield self.env.timeout(self.prompts(admitted))
                self.answer(admitted)
            if self.running:
                lasts = self.lasts()
                self.area += lasts * len(self.running)
                yield self.env.timeout(lasts)
                self.advance()
            elif not self.waiting:
                self.asleep = self.env.event()
                yield self.asleep

    def admit(self) -> list[Sequence]:
        """Those that come next, with their whole length reserved."""
        serving, admitted, tokens = self.scenario.serving, list[Sequence](), 0
        while self.waiting and len(self.running) + len(admitted) < serving.settings.max_num_seqs:
            one = self.waiting[0]
            full = admitted and tokens + one.prompt > serving.settings.max_num_batched_tokens
            if full or self.held + one.prompt + one.output > self.room:
                break
            tokens += one.prompt
            self.held += one.prompt + one.output
            admitted.append(self.waiting.popleft())
        return admitted

    def prompts(self, admitted: list[Sequence]) -> float:
        """Seconds of a step over whole prompts, by the model and by the draft."""
        total = sum(one.prompt for one in admitted)
        pairs = sum(one.prompt * (one.prompt + 1) / 2 for one in admitted)
        load = (float(total), pairs, float(total), 0.0, 0.0, float(len(admitted)))
        drafted = float(self.scenario.draft_seconds(*load)) if self.gamma else 0.0
        return float(self.scenario.serving.step_seconds(*load)) + drafted

    def answer(self, admitted: list[Sequence]) -> None:
        """Their first tokens are out."""
        for one in admitted:
            one.emitted, one.first = 1, self.env.now
        self.running += admitted
        self.leave()

    def lasts(self) -> float:
        """Seconds of a round of all that run."""
        batch = float(len(self.running))
        context = sum([one.prompt + one.emitted for one in self.running]) / batch
        return float(self.scenario.round(batch, context, self.gamma))

    def advance(self) -> None:
        """A round has ended: each sequence has its accepted tokens and one more."""
        brought = self.brought(len(self.running))
        self.steps, self.tokens = self.steps + len(brought), self.tokens + sum(brought)
        for one, tokens in zip(self.running, brought, strict=True):
            one.emitted += tokens
        if any(one.emitted >= one.output for one in self.running):
            self.leave()

    def brought(self, sequences: int) -> list[int]:
        """Tokens of a round for each sequence: up to the first proposal that is not accepted, and one more."""
        if not self.gamma:
            return [1] * sequences
        accepted = self.chance.random((sequences, self.gamma)) < self.scenario.acceptance
        rounds: list[int] = (np.logical_and.accumulate(accepted, axis=1).sum(axis=1) + 1).tolist()
        return rounds

    def leave(self) -> None:
        """Those that have all their tokens."""
        for one in self.running:
            if one.emitted >= one.output:
                one.finish = self.env.now
                self.held -= one.prompt + one.output
        self.running = [one for one in self.running if one.emitted < one.output]


def _one(scenario: Speculative, gamma: int, seed: int, replication: int) -> Amounts:
    env, chance = simpy.Environment(), stream(seed, replication, "acceptance")
    rounds = Rounds(env, scenario, gamma, chance)
    sources = (stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    drawn = scenario.serving.requests(LENGTH, *sources)
    sequences = [Sequence(arrival, prompt, output) for arrival, prompt, output in drawn]
    env.process(rounds.run())
    env.process(_arrive(env, sequences, rounds))
    env.run()
    kept = sequences[LENGTH // 8 : -LENGTH // 8]
    tpot = [(one.finish - one.first) / (one.output - 1) for one in kept if one.output > 1]
    found = {"ttft_mean": float(np.mean([one.first - one.arrival for one in kept]))}
    if tpot:
        found["tpot_mean"] = float(np.mean(tpot))
    return {
        **found,
        "e2el_mean": float(np.mean([one.finish - one.arrival for one in kept])),
        "tokens_per_round": rounds.tokens / max(1, rounds.steps),
        "running_mean": rounds.area / env.now,
    }


def _arrive(env: simpy.Environment, sequences: list[Sequence], rounds: Rounds) -> Process:
    for one in sequences:
        yield env.timeout(one.arrival - env.now)
        rounds.submit(one)
