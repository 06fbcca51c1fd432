"""Schema migrations of the fleet: the SaaS provider's numbered SQL files, checked, then run for every tenant."""
