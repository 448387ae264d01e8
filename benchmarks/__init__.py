"""Measurements against textbook implementations; `python -m benchmarks` runs them all."""
