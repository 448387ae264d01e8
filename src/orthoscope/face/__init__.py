"""What people call: pipelines measured, guided and laid beside what is exact."""
