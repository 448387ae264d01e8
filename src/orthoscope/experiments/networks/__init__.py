"""Networks that learn a law whose score is known: what they know of it, and what guidance makes of what they do not."""
