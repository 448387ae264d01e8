"""Schedules and rules that look at what they do, on exact laws and on networks: what each gains at what diversity."""
