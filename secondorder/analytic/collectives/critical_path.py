"""The longest path through a collective without jitter: what slow links and ranks cost, for any algorithm."""

from secondorder.scenarios.collective import Collective


def seconds(collective: Collective) -> float:
    """Time in s of one of the ``repeats`` operations, without jitter: the longest path over their number.

    A path goes on at a rank or from a sender to its receiver; a rank that only sends waits for its receiver.
    *Exact*. *Source*: the stages of the scenario.

    >>> from secondorder.fleets.clusters import Link
    >>> tree = Collective(algorithm="tree", ranks=8, size="1 GB", link=Link(bandwidth="50 GB/s"), slow_ranks={4: 2.0})
    >>> round(seconds(tree), 9)  # of six hops in a row the three that rank 4 sends are twice as long
    0.18
    """
    done = dict.fromkeys(range(collective.ranks), 0.0)
    for stage in collective.stages * collective.repeats:
        before = dict(done)
        for receiver, sender in enumerate(stage.senders):
            if sender != receiver:
                hop = stage.seconds * collective.factor(sender, receiver)
                done[receiver] = max(before[receiver], before[sender]) + hop
        for receiver, sender in enumerate(stage.senders):
            if sender != receiver and stage.senders[sender] == sender:
                done[sender] = done[receiver]
    return max(done.values()) / collective.repeats
