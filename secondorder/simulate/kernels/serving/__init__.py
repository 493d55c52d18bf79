"""The serving engine, compiled."""
