"""Directions of caution: how they read, move and steer."""
