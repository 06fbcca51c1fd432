"""Done on Postgres: the servers on which tenants' data lives."""
