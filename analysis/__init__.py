"""Numbers to numbers and numbers to pictures. No store, no torch."""
