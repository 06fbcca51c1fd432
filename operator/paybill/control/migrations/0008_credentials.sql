-- release: 4
-- Which slot of each login is in use, since when, and what of its rotation is under way: moments and letters, never a
-- password. Empty: as the tenant was made.

ALTER TABLE paybill.tenants ADD COLUMN credentials jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(credentials) = 'object');
