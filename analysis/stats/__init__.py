"""Stances, shifts and verdicts with their intervals and tests."""
