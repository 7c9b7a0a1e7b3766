"""Sends studies to a Kubernetes with Argo Workflows, watches them, and fetches what they found."""
