"""The cost sheet of a dry run: tokens, operations, hours and euros, worked out from the spec and a table of devices."""
