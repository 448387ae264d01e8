"""What people type: every verb in one line, from whatever they have at hand, to a result."""
