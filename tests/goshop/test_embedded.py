"""The embedded servers: whole processes, real signals."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
import redis

from goshop import embedded, folders
from goshop.processes import StartError, spawn, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


def owner(path):
    return Path(path).stat().st_uid


def test_a_database_is_empty_and_of_its_own(database, postgres_server):
    with psycopg.connect(database) as conn:
        conn.execute("CREATE TABLE things (id int)")
        assert conn.execute("SELECT count(*) FROM things").fetchone() == (0,)
    with psycopg.connect(postgres_server.conninfo()) as conn:
        assert conn.execute("SHOW server_version_num").fetchone()[0] >= "180000"


def test_a_database_made_again_is_empty_even_while_somebody_is_connected(new_database):
    first = psycopg.connect(new_database("made_twice"), autocommit=True)
    first.execute("CREATE TABLE things (id int)")
    with psycopg.connect(new_database("made_twice")) as conn:
        assert conn.execute("SELECT to_regclass('things')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError):
        first.execute("SELECT 1")
    first.close()


def test_text_sorts_and_folds_the_same_on_every_machine(database):
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT lower('ÄPFEL'), 'straße' ILIKE 'STRASSE'").fetchone() == ("äpfel", False)
        assert conn.execute("SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,ä,B,a}'::text[]) x").fetchone() == (
            "Babä",
        )


def test_nobody_gets_in_without_the_password(postgres_server):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.conninfo(), password="wrong")


def test_valkey_answers_on_its_socket_and_on_no_port(valkey_server, valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        assert client.set("a", "1")
        assert client.config_get("port") == {"port": "0"}
        assert client.info("server")["process_id"] == valkey_server.pid


def test_postgres_keeps_its_data_and_password_over_runs(state_folder):
    folder = state_folder / "kept"
    with embedded.postgres(folder, fsync=False) as server:
        server.create_database("kept")
        password = server.password
    with embedded.postgres(folder, fsync=False) as server, psycopg.connect(server.conninfo("kept")):
        assert server.password == password


def test_postgres_starts_over_a_pid_file_that_somebody_else_s_process_now_fits(state_folder):
    folder = state_folder / "stale"
    with embedded.postgres(folder, fsync=False) as server:
        server.kill()
        stale = folder / "data" / "postmaster.pid"
        lines = stale.read_text().split("\n")
        stale.write_text("\n".join([str(os.getpid()), *lines[1:]]))
        server.start()
        assert server.pid != os.getpid()


def test_a_folder_in_use_is_refused_and_its_server_left_alone(state_folder, monkeypatch):
    monkeypatch.setattr(folders, "LOCK_SECONDS", 0.1)
    folder = state_folder / "shared"
    with embedded.valkey(folder) as server:
        with pytest.raises(StartError, match=f"another run uses {folder}"), embedded.valkey(folder):
            pass
        with redis.Redis.from_url(server.url) as client:
            assert client.info("server")["process_id"] == server.pid


def test_a_path_too_long_for_a_socket_gets_a_short_one_that_is_gone_afterwards(state_folder):
    folder = state_folder / ("long" * 30)
    with embedded.postgres(folder, fsync=False) as server, embedded.valkey(folder / "valkey") as cache:
        sockets = [Path(server.host), Path(cache.url.removeprefix("unix://")).parent]
        assert all(len(str(path)) < folders.LONGEST_SOCKET_FOLDER for path in sockets)
        assert [path.stat().st_mode & 0o077 for path in sockets] == [0, 0]
    assert not any(path.exists() for path in sockets)


@needs_root
def test_as_root_postgres_reads_files_in_a_closed_folder(state_folder):
    folder = state_folder / "closed" / "postgresql"
    folder.parent.mkdir(mode=0o700)
    with embedded.postgres(folder, fsync=False) as server, psycopg.connect(server.conninfo()):
        assert owner(folder / "data") == 0


@needs_root
def test_where_namespaces_are_forbidden_postgres_runs_as_nobody(state_folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    _, uid = folders.unprivileged()
    binaries = embedded.postgres_binary("postgres")
    if any(not parent.stat().st_mode & 0o001 for parent in binaries.parents):
        pytest.skip("NOT CHECKED: nobody may not read the binaries, which lie in a closed folder")
    with embedded.postgres(state_folder / "nobody", fsync=False) as server:
        with psycopg.connect(server.conninfo()) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        assert owner(f"/proc/{server.pid}") == uid != 0
        assert owner(server.host) == uid
        server.kill()
        server.start()
        files = Path(server.host)
    assert not files.exists()


def test_a_server_that_dies_at_start_is_quoted(state_folder):
    folder = state_folder / "broken"
    with embedded.postgres(folder, fsync=False) as server:
        server.stop()
        (folder / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
        with pytest.raises(StartError, match=r"postgresql exited with 1 at start:(.|\n)*no_such_setting"):
            server.start()
        assert server.ended() is None


def test_children_are_started_by_the_main_thread_only(tmp_path):
    caught = []

    def body():
        with pytest.raises(RuntimeError, match="main thread") as error:
            spawn(["true"], log=tmp_path / "log")
        caught.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(10)
    assert caught


def test_a_server_dies_with_its_supervisor_and_frees_the_folder_at_once(state_folder):
    folder = state_folder / "orphan"
    code = "import sys, pathlib, time; from goshop import embedded\nwith embedded.postgres(pathlib.Path(sys.argv[1]), fsync=False) as s:\n print(s.pid, flush=True)\n time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait(5)
    with embedded.postgres(folder, fsync=False) as server, psycopg.connect(server.conninfo()):
        assert server.pid != pid
    assert wait_until(lambda: not Path(f"/proc/{pid}/cwd").exists(), 5)
