"""The order of work, and the ways to run it: local/ on one machine; Argo on a cluster."""
