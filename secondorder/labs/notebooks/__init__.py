"""One marimo notebook a lab; each also runs as a script."""
