"""Proof that tenants of a shared server are apart: attacks by canaries, the rules of shared tables, a watchdog."""
