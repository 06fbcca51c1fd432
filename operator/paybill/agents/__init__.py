"""The Paybill Framework: AI agents on a tenant's data, inside limits that the database itself holds."""
