"""Several compiled engines behind a compiled router."""
