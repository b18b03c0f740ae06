-- An order and the state of its Saga are one row: what an order is follows from the step it is at (app/order/domain.py),
-- and each step is recorded by one statement, before it is taken.
CREATE TABLE orders (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    -- NULL: the client will not ask again.
    idempotency_key text CHECK (idempotency_key ~ '^[!-~]{1,255}$'),
    step text NOT NULL CHECK (step IN (
        'reserving', 'charging', 'confirming', 'confirmed', 'uncharging', 'releasing', 'failed',
        'refunding', 'returning', 'cancelled')),
    -- [{product_id, quantity, unit_price}]; the price is the reservation's, 0 until then.
    items jsonb NOT NULL CHECK (jsonb_typeof(items) = 'array' AND jsonb_array_length(items) > 0),
    total bigint NOT NULL DEFAULT 0 CHECK (total >= 0),
    currency text NOT NULL DEFAULT '' CHECK (currency ~ '^([A-Z]{3})?$'),
    failure text NOT NULL DEFAULT '',
    failure_detail text NOT NULL DEFAULT '',
    -- W3C traceparent of the request that placed it: a resumed Saga links back to it.
    traceparent text NOT NULL DEFAULT '',
    -- Whoever drives the Saga renews the lease with every step; when it has run out, anybody may take over.
    lease_until timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, idempotency_key)
-- Room on each page, so that a step rewrites the row beside the old one.
) WITH (fillfactor = 50);

CREATE INDEX orders_unfinished ON orders (lease_until) WHERE step NOT IN ('confirmed', 'failed', 'cancelled');
