-- release: 4
-- What an operation leaves in a cloud though it leaves the stack; of a look at a destruction, what it would leave.

ALTER TABLE paybill.operations ADD COLUMN retained jsonb NOT NULL DEFAULT '[]';
