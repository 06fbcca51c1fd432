"""Moves of one tenant's data from one database to another: copied while it is used, switched within a moment."""
