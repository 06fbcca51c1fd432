-- release: 4
-- Since when a tenant that never was Ready cannot be made, and what a payment provider was told for it: one pause of
-- collecting per contract. attempts: requests that were written down before they went out.

ALTER TABLE paybill.subscription_facts ADD COLUMN failed_time timestamptz;
CREATE TABLE paybill.collection_pauses (
    installation     text        NOT NULL CHECK (installation <> ''),
    subscription_uid text        NOT NULL,
    provider_id      text        NOT NULL CHECK (provider_id <> ''),
    state            text        NOT NULL CHECK (state IN ('Pausing', 'Paused', 'Lifting', 'Lifted')),
    since            timestamptz NOT NULL,
    due              timestamptz NOT NULL,
    attempts         integer     NOT NULL DEFAULT 0,
    answer           text        NOT NULL DEFAULT '',
    PRIMARY KEY (installation, subscription_uid)
);
