"""The gateway: one tenant's agents speak MCP to it, and it speaks to the tenant's database with each agent's own login.

It holds nothing that an agent could not use by itself: what it refuses early is refused by the database as well.
"""
