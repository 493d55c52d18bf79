"""Closed forms of collectives and pipelines: alpha-beta, max-plus rings, stragglers, bubbles, overlap."""
