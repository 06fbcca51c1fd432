-- release: 4
-- Whether anybody looked in the cloud for what a destruction may have left: where nobody did, how a person does.

ALTER TABLE paybill.stacks ADD COLUMN unsearched text;
