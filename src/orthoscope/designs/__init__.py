"""Designing schedules for theory's laws and for data sets, beside simple and published ones, verified by sampling."""
