"""Commands that measure, each with its last result beside it. Never run by the tests."""
