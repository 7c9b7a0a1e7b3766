"""Plumbing with no opinion about the science; imports neither torch nor pandas."""
