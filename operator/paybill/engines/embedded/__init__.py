"""The embedded engine: a Postgres server of the tenant's own on this machine. Needs no CLI and no cloud."""
