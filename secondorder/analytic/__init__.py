"""Closed forms: one model a module, named by the textbook's noun."""
