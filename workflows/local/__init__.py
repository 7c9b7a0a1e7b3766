"""Runs the workflow on this machine: the same YAML that Argo runs, as processes instead of pods."""
