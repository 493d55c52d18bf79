"""Closed forms against simulations and measurements: comparisons, verdicts, statistics, calibration."""
