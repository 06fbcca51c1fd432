-- release: 4
-- When it was first seen that payment is late: a tenant is told for a while before it is suspended.

ALTER TABLE paybill.subscription_facts ADD COLUMN past_due_time timestamptz;
