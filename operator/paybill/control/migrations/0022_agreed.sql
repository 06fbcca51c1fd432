-- release: 4
-- What a contract sells, where what is billed says it: less that is billed may wait for the end of a period.

ALTER TABLE paybill.subscription_facts ADD COLUMN agreed jsonb;
