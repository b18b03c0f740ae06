"""Asks servers that others run, over HTTP, and takes no answer on trust: Prometheus, Tempo, Jaeger, Loki, Grafana.

An answer that is late, too large, or of another kind than was asked for is a `RemoteError` with the reason. Credentials come
from the environment alone, follow no redirect, and are in no message.
"""

import base64
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

import msgspec

from goshop.addresses import require_address, tell_unencrypted
from goshop.measurement import WrongRequest
from loadtests.seed import is_loopback
from slo.report.foreign import plain

# A person waits for it.
SECONDS: Final = 30.0
MOST_BYTES: Final = 32 << 20
JSON: Final = "application/json"
_CHUNK: Final = 1 << 16
# Characters of a foreign message that are shown.
_SHOWN: Final = 300
_REFUSED: Final = frozenset({401, 403})
_REDIRECTS: Final = range(300, 400)
# Multi-tenant Tempo and Loki tell their tenants apart by it.
_TENANT: Final = "X-Scope-OrgID"

T = TypeVar("T")


class RemoteError(Exception):
    """No answer that can be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Names:
    """How people name a server: what it is, the option and the variable for its address, and how to ask it for less.

    Its credentials are in PREFIX_TOKEN, or PREFIX_USER and PREFIX_PASSWORD, its tenant in PREFIX_TENANT.
    """

    what: str
    option: str
    variable: str
    prefix: str
    less: str
    # How to give credentials, where it is not as above.
    wanted: str = ""

    @property
    def credentials(self) -> str:
        """Say how to give them."""
        return self.wanted or f"set {self.prefix}_TOKEN, or {self.prefix}_USER and {self.prefix}_PASSWORD"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    body: bytes
    content_type: str = ""

    @property
    def text(self) -> str:
        """The body as one harmless line of bounded length."""
        return shown(self.body.decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Remote:
    """Where to ask. `headers` carry the credentials and are in no repr; `seconds` bound each question as a whole."""

    url: str
    names: Names
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = SECONDS
    most_bytes: int = MOST_BYTES
    # What is raised: a caller may tell servers apart.
    error: type[RemoteError] = RemoteError

    def ask(self, path: str, body: bytes | None = None, *, accept: str = JSON, content_type: str = JSON) -> Answer:
        """GET a path below the address, or POST a body to it; raises `RemoteError` for no answer, a refusal, a redirect."""
        headers = {"Accept": accept, **({} if body is None else {"Content-Type": content_type}), **self.headers}
        request = urllib.request.Request(f"{self.url}{path}", body, headers)  # noqa: S310 - http and https alone
        answer = self._within(lambda: self._send(request))
        if answer.status in _REFUSED:
            raise self.error(f"{self.url} refuses who asks ({answer.status}): {self.names.credentials}")
        if answer.status in _REDIRECTS:
            raise self.error(f"{self.url} redirects elsewhere ({answer.status}): name the address that answers itself")
        return answer

    def decode(self, raw: bytes | msgspec.Raw, form: type[T], problem: str) -> T:
        """Return JSON as `form`; raises `RemoteError` with the `problem`, in words, and what is wrong."""
        try:
            return msgspec.json.decode(raw, type=form)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self.error(f"{problem}: {shown(str(error))}") from None

    def _within(self, call: Callable[[], Answer]) -> Answer:
        """Return what `call` returns. In a thread: name resolution, and an answer that comes byte by byte, know no time-out."""
        done: SimpleQueue[Answer | Exception] = SimpleQueue()

        def run() -> None:
            try:
                done.put(call())
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                done.put(error)

        Thread(target=run, daemon=True, name="remote").start()
        try:
            found = done.get(timeout=self.seconds)
        except Empty:
            raise self.error(f"{self.url} has not answered within {self.seconds:g} s") from None
        if isinstance(found, Answer):
            return found
        # UnicodeError: a name that no resolver can be asked for.
        if isinstance(found, OSError | HTTPException | UnicodeError):
            raise self.error(f"nothing answers at {self.url}: {shown(str(getattr(found, 'reason', found)))}") from None
        raise found

    def _send(self, request: urllib.request.Request) -> Answer:
        # What stays on this machine must not pass through a proxy that the environment names.
        proxies = (urllib.request.ProxyHandler({}),) if is_loopback(self.url) else ()
        opener = urllib.request.build_opener(_NoRedirect, *proxies)
        try:
            with opener.open(request, timeout=self.seconds) as answer:
                return self._read(answer, answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return self._read(error, error.code)

    def _read(self, answer: Any, status: int) -> Answer:
        raw = bytearray()
        while chunk := answer.read(_CHUNK):
            raw += chunk
            if len(raw) > self.most_bytes:
                raise self.error(f"{self.url} answers with more than {self.most_bytes >> 20} MB{self.names.less}")
        return Answer(status, bytes(raw), answer.headers.get_content_type())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credentials to whoever it names: it stays the answer that it is."""

    def redirect_request(self, *_asked: Any) -> None:
        """Follow none."""


def connect(url: str, names: Names, environ: Mapping[str, str] = os.environ, *, seconds: float = SECONDS) -> Remote:
    """Return where to ask, with the credentials of the environment; raises `WrongRequest` for what cannot be meant."""
    if not url:
        raise WrongRequest(f"name the {names.what} with {names.option} URL or {names.variable}")
    example = f"https://{names.what.lower()}.example.org"
    require_address(url, f"{names.option} or {names.variable}", example=example, instead=names.credentials)
    headers = _headers(names, environ)
    if "Authorization" in headers:
        tell_unencrypted(url, f"the credentials of {names.what}")
    return Remote(url.rstrip("/"), names, headers, seconds)


def _headers(names: Names, environ: Mapping[str, str]) -> dict[str, str]:
    headers = {"Authorization": _authorization(names, environ)}
    headers[_TENANT] = _safe(f"{names.prefix}_TENANT", environ)
    return {name: value for name, value in headers.items() if value}


def _authorization(names: Names, environ: Mapping[str, str]) -> str:
    token = _safe(f"{names.prefix}_TOKEN", environ)
    user, password = (environ.get(f"{names.prefix}_{each}", "") for each in ("USER", "PASSWORD"))
    if token and (user or password):
        raise WrongRequest(f"{names.prefix}_TOKEN and {names.prefix}_USER are both set: which one is meant?")
    if bool(user) != bool(password):
        raise WrongRequest(f"{names.prefix}_USER and {names.prefix}_PASSWORD belong together: one of them is not set")
    if user:
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    return f"Bearer {token}" if token else ""


def _safe(variable: str, environ: Mapping[str, str]) -> str:
    value = environ.get(variable, "")
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise WrongRequest(f"{variable} holds characters that no header can have")
    return value


def shown(text: str) -> str:
    """Return foreign text as one harmless line of bounded length."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
