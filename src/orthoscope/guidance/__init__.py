"""Guidance: how strong (`schedules`), how combined (`rules`), and the guided denoiser."""
