"""Done on Kubernetes: the one client, the caches and the Lease."""
