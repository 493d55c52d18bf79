"""Theorems of LLM serving, each as a closed form of plain numbers; ``docs/theory.md`` has their twins."""
