"""The audit of a pipeline: images under guidance schedules, what they lose and keep, and what to use instead."""
