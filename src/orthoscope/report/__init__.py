"""Datasets and figures to one page."""
