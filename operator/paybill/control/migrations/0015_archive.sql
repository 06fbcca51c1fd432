-- release: 4
-- Contracts that are over: when their people were told, which backup holds all of the tenant, when everything went.

ALTER TABLE paybill.tenants ADD COLUMN archive text, ADD COLUMN archived_time timestamptz;
ALTER TABLE paybill.subscription_facts ADD COLUMN noticed_time timestamptz, ADD COLUMN deleted_time timestamptz;
