"""The engine measured against the textbook: time to one error, what each part of it saves, and cost against size."""
