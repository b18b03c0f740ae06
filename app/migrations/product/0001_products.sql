-- The catalogue. A deleted product stays, so that old orders keep its name; its SKU is free again.
CREATE TABLE products (
    id          uuid PRIMARY KEY,
    sku         text NOT NULL CONSTRAINT sku CHECK (char_length(sku) BETWEEN 1 AND 64),
    name        text NOT NULL CONSTRAINT name CHECK (char_length(name) BETWEEN 1 AND 200),
    description text NOT NULL CONSTRAINT description CHECK (char_length(description) <= 4000),
    category    text NOT NULL CONSTRAINT category CHECK (char_length(category) BETWEEN 1 AND 64),
    price       bigint NOT NULL CONSTRAINT price CHECK (price BETWEEN 0 AND 1000000000000),
    currency    text NOT NULL CONSTRAINT currency CHECK (currency ~ '^[A-Z]{3}$'),
    stock       integer NOT NULL CONSTRAINT stock CHECK (stock >= 0),
    -- Counts every change, a sale too: whoever writes must have read the newest.
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz,
    document    tsvector NOT NULL GENERATED ALWAYS AS (
        to_tsvector('simple', sku || ' ' || name || ' ' || category || ' ' || description)
    ) STORED
-- Room on each page, so that a sale rewrites the row beside the old one and touches no index (HOT).
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX products_sku ON products (sku) WHERE deleted_at IS NULL;
CREATE INDEX products_category ON products (category, id) WHERE deleted_at IS NULL;
-- Without a pending list: the catalogue is searched far more often than written, and a search should not read that list.
CREATE INDEX products_document ON products USING gin (document) WITH (fastupdate = off) WHERE deleted_at IS NULL;

-- What an order holds. The row without items is a tombstone: released before it was reserved.
CREATE TABLE reservations (
    order_id   uuid PRIMARY KEY,
    state      text NOT NULL CONSTRAINT state CHECK (state IN ('reserved', 'confirmed', 'released')),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

CREATE TABLE reserved_items (
    order_id   uuid NOT NULL REFERENCES reservations,
    product_id uuid NOT NULL REFERENCES products,
    quantity   integer NOT NULL CONSTRAINT quantity CHECK (quantity > 0),
    unit_price bigint NOT NULL,
    PRIMARY KEY (order_id, product_id)
);

-- Where every piece is: stock + reserved + sold of a product changes only when an admin changes its stock.
CREATE VIEW stock_balance AS
SELECT p.id AS product_id,
       p.stock,
       coalesce(sum(i.quantity) FILTER (WHERE r.state = 'reserved'), 0)::bigint AS reserved,
       coalesce(sum(i.quantity) FILTER (WHERE r.state = 'confirmed'), 0)::bigint AS sold
  FROM products p
  LEFT JOIN reserved_items i ON i.product_id = p.id
  LEFT JOIN reservations r USING (order_id)
 GROUP BY p.id;
