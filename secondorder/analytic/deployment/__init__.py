"""Closed forms of several replicas: a random split, the supermarket model, breakdowns."""
