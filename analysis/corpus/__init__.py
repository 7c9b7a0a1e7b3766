"""What sets the arms of a corpus apart, and what leaks."""
