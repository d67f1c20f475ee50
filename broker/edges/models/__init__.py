"""Models in the wire formats of their providers: an SDK changes its base URL and its key, nothing else."""
