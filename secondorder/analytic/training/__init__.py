"""Training under failures: intervals, goodput, levels of checkpoints, silent errors, spares, counts.

Clocks, unless a function says otherwise: failures strike in work, in writes and in restarts, and not
in a downtime. ``interval`` is the work between checkpoints, not the period.
"""
