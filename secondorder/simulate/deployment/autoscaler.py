"""The autoscaler as a process: it counts outstanding requests, starts replicas cold and drains those that are spare."""

import math
from collections import deque
from collections.abc import Sequence

import simpy

from secondorder.quantities import si
from secondorder.scenarios.autoscaler import Autoscaler
from secondorder.simulate.deployment.clients import Clients, picoseconds
from secondorder.simulate.deployment.replica import Replica
from secondorder.simulate.serving.engine import Process

LOOK = 1.0
"""Seconds between two counts."""


class Scaling:
    """An autoscaler at work on replicas; those that are off cost nothing."""

    def __init__(self, env: simpy.Environment, rule: Autoscaler, replicas: Sequence[Replica], clients: Clients) -> None:
        self.env, self.rule, self.replicas, self.clients = env, rule, replicas, clients
        self.counts: deque[int] = deque(maxlen=max(1, round(si(rule.window) / LOOK)))
        self.changed = -picoseconds(si(rule.cool_down))
        env.process(self.run())

    def run(self) -> Process:
        """Count, and start or stop what is wanted."""
        while not self.clients.over:
            yield self.env.timeout(picoseconds(LOOK))
            self.counts.append(sum(replica.outstanding for replica in self.replicas) + len(self.clients.held))
            self.adjust()

    def adjust(self) -> None:
        """Start what is missing at once; stop what is spare if nothing has changed for a while."""
        staying = [replica for replica in self.replicas if replica.on and not replica.leaving]
        missing = self.wanted - len(staying)
        if missing > 0:
            for replica in [each for each in self.replicas if not each.on][:missing]:
                self.changed = int(self.env.now)
                self.env.process(self.start(replica))
        elif self.env.now - self.changed >= picoseconds(si(self.rule.cool_down)):
            for replica in [each for each in reversed(staying) if each.up][: -missing or 0]:
                self.changed = int(self.env.now)
                self.env.process(self.stop(replica))

    @property
    def wanted(self) -> int:
        """Replicas for the mean count of the window."""
        mean = sum(self.counts) / len(self.counts)
        return min(self.rule.most, max(self.rule.least, math.ceil(mean / self.rule.target)))

    def start(self, replica: Replica) -> Process:
        """A replica is paid for from now on, and serves when it has started."""
        replica.switch_on()
        yield self.env.timeout(picoseconds(si(self.rule.start)))
        replica.begin()
        self.clients.release()

    def stop(self, replica: Replica) -> Process:
        """A replica takes no more requests, finishes what it has, and is paid for no longer."""
        replica.leaving = True
        yield replica.drain()
        replica.switch_off()
