-- release: 4
-- Who carried an operation out, as a lock that it took names its holder, and in which pod: what of it died can be told
-- from what lives.

ALTER TABLE paybill.operations ADD COLUMN holder text, ADD COLUMN pod text;
