-- Accounts. An account without a password hash cannot log in; age is NULL where nobody has told.
CREATE TABLE users (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    age integer CHECK (age BETWEEN 1 AND 150),
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    password_hash text,
    role text NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Whoever writes Alice@Test.com is alice@test.com.
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
