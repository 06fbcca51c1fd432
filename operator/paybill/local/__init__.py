"""The embedded default: a Kubernetes control plane and Postgres as plain processes on one machine."""
