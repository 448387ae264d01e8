"""Datasets to figures; nothing is computed here."""
