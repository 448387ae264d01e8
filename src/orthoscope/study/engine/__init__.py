"""Estimates that cost little: real modes beside twins whose answer is known, several step sizes on one path."""
