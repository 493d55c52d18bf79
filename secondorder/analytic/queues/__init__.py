"""Closed forms of queues, one model a file."""
