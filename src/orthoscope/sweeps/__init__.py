"""Sweeps: a study file becomes a plan, its cells are computed on any number of workers, results go into one store."""
