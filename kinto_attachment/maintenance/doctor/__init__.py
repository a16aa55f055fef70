"""What does not agree, and the mending of it."""
