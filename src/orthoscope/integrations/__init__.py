"""Real pipelines: diffusers and other hosts, wrapped from outside. Imported by name, so that nothing heavy loads."""
