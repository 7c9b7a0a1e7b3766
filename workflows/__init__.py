"""The order of work, and the ways to run it: local.py on one machine; Argo on a cluster."""
