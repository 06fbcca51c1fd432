-- release: 4
-- Where an operation runs: a leader that takes one over must know where to look, whatever its Cell says by now.

ALTER TABLE paybill.operations
    ADD COLUMN runner text NOT NULL DEFAULT 'Subprocess' CHECK (runner IN ('Subprocess', 'Job'));
