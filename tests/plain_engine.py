"""Settings of an engine as textbooks have it, for tests that mean these and not what the engine would choose."""

from typing import Any

PLAIN: dict[str, Any] = {"max_num_batched_tokens": 2048, "enable_prefix_caching": False, "async_scheduling": False}
"""A step is decided when the one before it has ended, takes few tokens, and nothing is kept."""
