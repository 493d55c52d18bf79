"""Scenarios without one of their effects: each function takes a scenario and returns it with that effect off.

A scenario that does not have the effect comes back as it is.
"""
