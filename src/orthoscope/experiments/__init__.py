"""Experiments: theory and simulation side by side, phase diagrams, real data, the demonstration."""
