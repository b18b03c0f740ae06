-- The sandbox provider's own books: another company's database as far as the shop is concerned. Nothing of ours refers to
-- it, and only app/payment/sandbox.py reads it.
CREATE SCHEMA sandbox;
CREATE TABLE sandbox.bookings (
    payment_id uuid PRIMARY KEY,
    amount bigint NOT NULL,
    currency text NOT NULL,
    state text NOT NULL CHECK (state IN ('booked', 'declined', 'cancelled')),
    -- A late answer: booked now, and told from then on.
    known_at timestamptz NOT NULL DEFAULT now()
);
