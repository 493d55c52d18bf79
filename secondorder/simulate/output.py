"""Output analysis: what a run may be trusted for (Law 2015, chapter 9).

Inside one run successive requests are alike, and an interval from their spread is far too
short. Intervals here come from independent replications (Student's t), each cleared of its
warm-up by one cut for all, or from a few long batches of one run. How long a replication must
be for its interval to keep what it promises is ``recommended_length``; how many of them a wanted
precision takes is found by ``replicate_until``. What is too short is refused with the length
that it would take (``NotEnoughData``). One module of ``simulate.statistics`` has each of these.
"""

from secondorder.simulate.statistics.batch_means import BatchMeans, batch_means, correlation_time
from secondorder.simulate.statistics.intervals import Interval, student, student_quantile
from secondorder.simulate.statistics.not_enough import NotEnoughData
from secondorder.simulate.statistics.precision import Replicated, replicate_until
from secondorder.simulate.statistics.run_length import RELAXATIONS_FOR_A_MEAN, RunLength, recommended_length
from secondorder.simulate.statistics.warm_up import WarmUp, judged_cut, mser5, warm_up

__all__ = [
    "RELAXATIONS_FOR_A_MEAN",
    "BatchMeans",
    "Interval",
    "NotEnoughData",
    "Replicated",
    "RunLength",
    "WarmUp",
    "batch_means",
    "correlation_time",
    "judged_cut",
    "mser5",
    "recommended_length",
    "replicate_until",
    "student",
    "student_quantile",
    "warm_up",
]
