"""The embedded servers: whole processes, real signals."""

import psycopg
import redis


def test_a_database_is_empty_and_of_its_own(database, postgres_server):
    with psycopg.connect(database) as conn:
        conn.execute("CREATE TABLE things (id int)")
        assert conn.execute("SELECT count(*) FROM things").fetchone() == (0,)
    with psycopg.connect(postgres_server.conninfo()) as conn:
        assert conn.execute("SHOW server_version_num").fetchone()[0] >= "180000"


def test_valkey_answers_on_its_socket(valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        assert client.set("a", "1")
