-- Balances as an append-only ledger. An account's running balance is the sum of its entries: both change in one statement,
-- under the account's row lock, and the constraint keeps it from ever being negative.
CREATE TABLE accounts (
    user_id uuid PRIMARY KEY,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    balance bigint NOT NULL CHECK (balance >= 0),
    opened_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE payments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL UNIQUE,
    -- NULL only where a charge was cancelled before it was seen: nobody knows whose it would have been.
    user_id uuid REFERENCES accounts,
    amount bigint NOT NULL CHECK (amount >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state text NOT NULL CHECK (state IN ('pending', 'charged', 'declined', 'cancelled', 'refunded')),
    reason text NOT NULL DEFAULT '',
    refund_key text UNIQUE,
    -- Whether the provider's books are known to agree with ours; where not, the synchronisation asks from `check_at` on.
    settled boolean NOT NULL,
    check_at timestamptz NOT NULL DEFAULT now(),
    checks integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (user_id IS NOT NULL OR state = 'cancelled')
);
CREATE INDEX payments_unsettled ON payments (check_at) WHERE NOT settled;

CREATE TABLE entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES accounts,
    kind text NOT NULL CHECK (kind IN ('opening', 'charge', 'refund')),
    payment_id uuid REFERENCES payments CHECK ((payment_id IS NULL) = (kind = 'opening')),
    amount bigint NOT NULL CHECK (CASE kind WHEN 'charge' THEN amount <= 0 ELSE amount >= 0 END),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Money is taken once per payment, and given back once, whoever asks and however often.
    UNIQUE (payment_id, kind)
);
CREATE UNIQUE INDEX entries_one_opening ON entries (user_id) WHERE kind = 'opening';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: write a new entry instead';
END $$;
CREATE TRIGGER entries_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
