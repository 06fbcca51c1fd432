"""Backups of one tenant at a time: dumped, sealed, stored, and proved by being restored."""
