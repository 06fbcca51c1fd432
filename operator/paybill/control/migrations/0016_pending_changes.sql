-- release: 4
-- Another Plan that a contract names and has not got yet: since when, and until when was paid then.

ALTER TABLE paybill.subscription_facts
    ADD COLUMN change_plan text, ADD COLUMN change_asked_time timestamptz, ADD COLUMN change_period_time timestamptz;
