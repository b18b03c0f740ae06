# cython: language_level=3
"""The usual request, compiled: begun, answered completely below 500, told of. Anything else is `RequestRecord`'s.

Every method here says and does what the one of the same name in `telemetry.request` does; its tests run on both.
What is compiled is where the time goes: ids and headers as plain memory instead of formatted strings, the span and the
access line copied together from cached pieces, and no look-up of attributes by name.
"""

import logging
import sys

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from contextvars import ContextVar
from random import getrandbits
from threading import get_ident

from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.context import Context, attach, detach
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from .serving import FASTAPI_KEY, SCOPE_KEY, awaiting, handle
from . import access, histogram, http, otlp, output, propagation, request
from .logs import json_text
from .output import LineOutput
from .recording import CURRENT_SPAN
from .shapes import SERVER_ERROR as _SERVER_ERROR

cdef extern from "Python.h":
    int PyCoro_CheckExact(object)
    void PyErr_Restore(PyObject* type, PyObject* error, PyObject* traceback)
    int PyErr_WarnFormat(object category, Py_ssize_t stack_level, const char* format, ...) except -1
    int PyIter_Send(object, object, PyObject** told) except -1
    enum: PYGEN_NEXT
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    char* PyOS_double_to_string(double value, char format, int precision, int flags, int* kind) except NULL

logger = logging.getLogger(request.__name__)

cdef object _Record = request.RequestRecord

cdef object _paths = request._paths
cdef object _to_nobody = request._to_nobody
cdef object _url_query = request._url_query
cdef object _textmap = propagation._textmap
# Where OpenTelemetry keeps its context, unless `OTEL_PYTHON_CONTEXT` names another place.
cdef object _context_of_task = getattr(otel_context._RUNTIME_CONTEXT, "_current_context", None)
if type(otel_context._RUNTIME_CONTEXT) is not ContextVarsRuntimeContext or type(_context_of_task) is not ContextVar:
    _context_of_task = None
cdef object _clock = access._clock
cdef object _Context = Context
cdef object _current_span = CURRENT_SPAN
cdef object _with_trace_headers = http.with_trace_headers
cdef bytes _TRACERESPONSE = http._TRACE_HEADERS[0]
cdef bytes _TRACE_ID = http._TRACE_HEADERS[1]
# Only a header whose name is as long as one of these can be one of them.
cdef uint64_t _notable_lengths = 0
for _name in http._NOTABLE:
    _notable_lengths |= <uint64_t>1 << len(_name)

cdef bytes TRACEPARENT = b"traceparent"
cdef bytes TRACESTATE = b"tracestate"
cdef bytes BAGGAGE = b"baggage"
cdef bytes HOST = b"host"
cdef bytes USER_AGENT = b"user-agent"

if sys.platform != "linux":
    # Elsewhere the clock of `time.perf_counter` is another one, and no other was tried.
    raise ImportError("the compiled request path is for Linux")

cdef enum:
    SAMPLED = 1
    RANDOM = 2
    INHERITED = 3
    FINAL = 200
    SERVER_ERROR = 500
    TRACEPARENT_LENGTH = 55
    SECOND = 1_000_000_000
    BATCH = 64
    TURN_LINES = 256
    MOST_BOUNDS = 64

if (SERVER_ERROR, FINAL, BATCH, TURN_LINES) != (_SERVER_ERROR, request.FINAL, histogram.BATCH, output.TURN_LINES):
    raise ImportError("a constant differs from the one of its module in Python")

cdef bytes _PATH_KEY = request.c.URL_PATH.encode()
cdef object _url_path = request._url_path
cdef enum:
    # Up to this one, every length around a path in a span takes one byte, and no line is shortened.
    LONGEST_SHORT_PATH = 100

cdef bytes _SPAN_ID = access._SPAN_ID.encode()
cdef bytes _FLAGS = access._FLAGS[0].removesuffix("00").encode()

include "_memory.pxi"
include "_shared.pxi"


cdef class RequestCore:
    """The fields of a request, and the usual way through it; `telemetry.compiled` puts the rest around it."""

    cdef public object recorder, tracestate, error, status, _context, _notes, _layer, _receive, _send
    cdef public str trace_id, span_id, parent_id, stacktrace, method, known_method, path
    cdef public dict scope
    cdef dict _headers
    # Of the headers: what is asked of every request, and whether there is nothing unusual about them.
    cdef bytes _traceparent, _host, _agent
    cdef LayerCore _core
    cdef list _level
    cdef bint _usual
    cdef public int flags
    cdef public bint remote, ended, abandoned, disconnected, escaped, finished, _trailers
    cdef public int64_t last_sent, started, started_unix

    def __init__(self, layer, dict scope, receive, send):
        self.take(layer, scope, receive, send)

    cdef int take(self, layer, dict scope, receive, send) except -1:
        self.started_unix = now(CLOCK_REALTIME)
        self.started = now(CLOCK_MONOTONIC)
        self._layer = layer
        core = layer.core
        if core is None:
            core = layer.core = LayerCore(layer)
        self._core = core
        self._receive = receive
        self._send = send
        self.status = 0
        self.stacktrace = ""
        self.scope = scope
        self._usual = self._scan(scope["headers"])
        if not self._usual:
            # Now: the application may change them.
            self._headers = dict(scope["headers"])
        cdef str method = scope["method"]
        self.method = method
        self.known_method = method if method in self._core.methods else request.c.OTHER_METHOD
        raw_path = get(scope, "raw_path") or request.raw_path_of(scope)
        path = get(_paths, raw_path)
        self.path = path if path is not None else _paths[raw_path]
        self._level = self._core.in_progress[self.known_method]._held
        self._level.append(None)
        return 0

    @property
    def headers(self):
        if self._headers is None:
            self._headers = self._few()
        return self._headers

    @headers.setter
    def headers(self, dict headers):
        self._headers = headers

    cdef dict _few(self):
        """Return those headers of a usual request that anybody asks for."""
        few = {HOST: self._host, USER_AGENT: self._agent, TRACEPARENT: self._traceparent}
        return {name: value for name, value in few.items() if value is not None}

    cdef bint _scan(self, headers) except -1:
        """Look through the headers once; false where `RequestRecord` has to."""
        if type(headers) is not list:
            return False
        for header in <list>headers:
            if type(header) is not tuple or len(<tuple>header) != 2:
                return False
            name, value = (<tuple>header)[0], (<tuple>header)[1]
            if type(name) is not bytes or type(value) is not bytes:
                return False
            # By length first: most headers are none of these.
            if len(<bytes>name) == 4:
                if name == HOST:
                    self._host = value
            elif len(<bytes>name) == 10:
                if name == USER_AGENT:
                    self._agent = value
                elif name == TRACESTATE:
                    return False
            elif len(<bytes>name) == 11:
                if name == TRACEPARENT:
                    if self._traceparent is not None:
                        return False
                    self._traceparent = value
            elif len(<bytes>name) == 7 and name == BAGGAGE:
                return False
        return True

    def start_span(self):
        if (
            not self._usual
            or propagate.get_global_textmap() is not _textmap.usual
            or not (self._begin() if self._traceparent is None else self._continue(self._traceparent))
        ):
            return _Record.start_span(self)
        context = new(_Context)
        PyDict_SetItem(context, _current_span, self)
        return context

    cdef bint _begin(self) except -1:
        """Begin a trace."""
        recorder = self.recorder = self._layer.recorder
        self.trace_id = hexadecimal(<uint64_t>getrandbits(64)) + hexadecimal(<uint64_t>getrandbits(64) or 1)
        self.span_id = hexadecimal(<uint64_t>getrandbits(64) or 1)
        self.parent_id = ""
        self.flags = RANDOM | recorder.decide(self.trace_id, None)
        return True

    cdef bint _continue(self, bytes traceparent) except -1:
        """Take the caller's ids; false when the header is not a usual one (then nothing is taken)."""
        cdef const char* text = PyBytes_AS_STRING(traceparent)
        if not self._core.trusted:
            return False
        if PyBytes_GET_SIZE(traceparent) != TRACEPARENT_LENGTH or memcmp(text, "00-", 3):
            return False
        if text[35] != c"-" or text[52] != c"-":
            return False
        cdef uint8_t high = value_of(text[53]), low = value_of(text[54])
        if high > 15 or low > 15 or not is_id(text + 3, 32) or not is_id(text + 36, 16):
            return False
        cdef int flags = high << 4 | low
        recorder = self.recorder = self._layer.recorder
        self.trace_id = PyUnicode_DecodeASCII(text + 3, 32, NULL)
        self.parent_id = PyUnicode_DecodeASCII(text + 36, 16, NULL)
        self.span_id = hexadecimal(<uint64_t>getrandbits(64) or 1)
        self.remote = True
        if recorder.follows_parent:
            self.flags = flags & INHERITED
        else:
            self.flags = flags & RANDOM | recorder.decide(self.trace_id, flags & SAMPLED == SAMPLED)
        return True

    def send(self, message):
        cdef object kind = get(message, "type") if type(message) is dict else None
        if kind == "http.response.start":
            return self.answer(message, last=False)
        if kind == "http.response.body" and not self._trailers and not get(message, "more_body"):
            return self.answer(message, last=True)
        return _Record.send(self, message)

    cdef Answer answer(self, dict message, bint last):
        cdef Answer answer = Answer.__new__(Answer)
        answer.request, answer.message, answer.last = self, message, last
        return answer

    cdef dict with_headers(self, dict message):
        try:
            headers = get(message, "headers")
            if type(headers) is not list:
                # Not only its headers: an iterator is used up by now.
                message = http.with_list_of_headers(message)
                headers = message["headers"]
            headers = self._headers_of(headers)
        except (AttributeError, LookupError, TypeError):
            return message
        message = message.copy()
        message["headers"] = headers
        return message

    cdef int started_answer(self, dict message) except -1:
        status = get(message, "status")
        if not self.status and not self.disconnected and isinstance(status, int) and status >= FINAL:
            self.status = int(status)
            self._trailers = bool(get(message, "trailers"))
        return 0

    cdef int ended_answer(self) except -1:
        if not self.status:
            return 0
        if not self.last_sent:
            self.last_sent = now(CLOCK_MONOTONIC)
        if self.status < SERVER_ERROR:
            self.finish()
        return 0

    cdef list _headers_of(self, list headers):
        cdef char[TRACEPARENT_LENGTH] traceresponse
        cdef list told = []
        for header in headers:
            name = header[0]
            if type(name) is not bytes:
                # What ASGI has no such name for; the same goes for what is not hashable.
                return _with_trace_headers(headers, self.traceparent, self.trace_id)
            if len(name) < 64 and _notable_lengths >> <uint64_t>len(name) & 1 and name.lower() in http._NOTABLE:
                return _with_trace_headers(headers, self.traceparent, self.trace_id)
            told.append(header)
        memcpy(traceresponse, "00-", 3)
        memcpy(traceresponse + 3, digits_of(self.trace_id, 32), 32)
        traceresponse[35] = c"-"
        memcpy(traceresponse + 36, digits_of(self.span_id, 16), 16)
        traceresponse[52] = c"-"
        traceresponse[53] = HEXADECIMAL[self.flags >> 4 & 15]
        traceresponse[54] = HEXADECIMAL[self.flags & 15]
        told.append((_TRACERESPONSE, PyBytes_FromStringAndSize(traceresponse, TRACEPARENT_LENGTH)))
        told.append((_TRACE_ID, PyBytes_FromStringAndSize(traceresponse + 3, 32)))
        return told

    def finish(self):
        if self.finished:
            return
        if not self.last_sent or self.disconnected or self.escaped or self.status >= SERVER_ERROR:
            _Record.finish(self)
            return
        self.finished = True
        cdef int64_t duration = self.last_sent - self.started
        cdef LayerCore core = self._core
        cdef ShapeCore shape
        cdef PeerCore peer
        self._level.pop()
        try:
            route = get(self.scope, "path_template") or http.route_of(self.scope)
            shape_told = get(core.shapes, (self.method, route, self.status, ""))
            if shape_told is None:
                shape_told = core.shapes.make(self.known_method, self.method, route, self.status, "")
            peer_told = self._peer()
            shape, peer = core_of(shape_told, ShapeCore), core_of(peer_told, PeerCore)
            shape.observe(duration, self.trace_id if self.flags & SAMPLED else None)
            core.tell(self._line(shape, peer, duration))
            if self._notes is not None or self.tracestate:
                self.end_span(shape_told, peer_told, duration)
                return
            self.ended = True
            take = self.recorder.outlet.take
            if self.flags & SAMPLED and take is not None:
                take(self.recorder.envelope, self._span(shape, peer, duration))
        except Exception:
            # What telemetry is given to call (a processor, say) may be wrong; the request is not.
            logger.exception("not everything could be told of %s %s", self.method, self.path)

    cdef object _peer(self):
        cdef dict scope = self.scope
        client = get(scope, "client")
        peers = self._core.peers
        if not self._usual or self._host is None:
            return peers.of(scope, self.headers)
        server = None
        if b":" not in self._host:
            server = get(scope, "server")
            server = server if type(server) is tuple else tuple(server or ())
        agent = b"" if self._agent is None else self._agent
        key = self._host, agent, client[0] if client else "", get(scope, "scheme"), get(scope, "http_version"), server
        peer = get(peers, key)
        return peer if peer is not None else peers.of(scope, self.headers)

    cdef bytes _line(self, ShapeCore shape, PeerCore peer, int64_t duration):
        cdef int64_t end = self.started_unix + duration
        cdef int64_t second = end // SECOND
        cdef int micros = <int>(end % SECOND // 1000)
        cdef Py_ssize_t moment_size, path_size
        cdef char[32] milliseconds
        cdef int digits = write_milliseconds(milliseconds, duration)
        cdef tuple clock = _clock.last
        if clock[0] != second:
            clock = _clock.tick(second)
        cdef str path = json_path(self.path)
        cdef const char* moment = utf8(clock[1], &moment_size)
        cdef const char* path_text = utf8(path, &path_size)
        cdef Py_ssize_t ids = 32 + PyBytes_GET_SIZE(_SPAN_ID) + 16 + PyBytes_GET_SIZE(_FLAGS) + 2
        # The path twice, once without its quotes; at the end a brace and a line feed.
        cdef Py_ssize_t own = moment_size + 6 + ids + 2 * path_size - 2 + digits + 2
        cdef bytes encoded = PyBytes_FromStringAndSize(NULL, own + shape.line_size + PyBytes_GET_SIZE(peer.line))
        cdef char* at = put(PyBytes_AS_STRING(encoded), moment, moment_size)
        cdef int i
        for i in range(5, -1, -1):
            at[i] = <char>(c"0" + micros % 10)
            micros //= 10
        at = put_bytes(at + 6, shape.before_path)
        at = put(at, path_text + 1, path_size - 2)
        at = put_bytes(at, shape.message_end)
        at = put(at, digits_of(self.trace_id, 32), 32)
        at = put_bytes(at, _SPAN_ID)
        at = put(at, digits_of(self.span_id, 16), 16)
        at = put_bytes(at, _FLAGS)
        at[0] = HEXADECIMAL[self.flags >> 4 & 15]
        at[1] = HEXADECIMAL[self.flags & 15]
        at = put_bytes(at + 2, shape.after_ids)
        at = put(at, path_text, path_size)
        at = put_bytes(at, shape.after_path)
        at = put(at, milliseconds, digits)
        at = put_bytes(at, peer.line)
        at = put_bytes(at, shape.end)
        at[0] = c"}"
        at[1] = c"\n"
        return encoded

    cdef bytes _span(self, ShapeCore shape, PeerCore peer, int64_t duration):
        cdef bytes body = shape.body, whose = peer.body, rest = b"", path
        cdef Py_ssize_t path_size
        cdef const char* path_text = NULL
        cdef bint root = not self.parent_id
        cdef uint32_t flags = self.flags | (0x300 if self.remote else 0x100)
        if get(self.scope, "query_string"):
            rest = _url_query(self.query())
        if self.path.isascii() and len(self.path) <= LONGEST_SHORT_PATH:
            path_text = utf8(self.path, &path_size)
            path_size += 8 + PyBytes_GET_SIZE(_PATH_KEY)
        else:
            path = _url_path(self.path)
            path_size = PyBytes_GET_SIZE(path)
        # Ids, flags and times; then what is as long as it is.
        cdef Py_ssize_t size = 28 + (0 if root else 10) + 6 + 18
        size += PyBytes_GET_SIZE(body) + PyBytes_GET_SIZE(whose) + path_size + PyBytes_GET_SIZE(rest)
        cdef bytes head = otlp.SPAN_HEADS[size]
        cdef bytes encoded = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(head) + size)
        cdef char* at = put_bytes(PyBytes_AS_STRING(encoded), head)
        at[0], at[1] = 0x0A, 16
        to_bytes(digits_of(self.trace_id, 32), at + 2, 16)
        at[18], at[19] = 0x12, 8
        to_bytes(digits_of(self.span_id, 16), at + 20, 8)
        at += 28
        if not root:
            at[0], at[1] = 0x22, 8
            to_bytes(digits_of(self.parent_id, 16), at + 2, 8)
            at += 10
        at[0], at[1] = <char>0x85, 1
        at[2], at[3], at[4], at[5] = <char>(flags & 255), <char>(flags >> 8), 0, 0
        at = put_fixed64(at + 6, 0x39, self.started_unix)
        at = put_fixed64(at, 0x41, self.started_unix + duration)
        at = put_bytes(at, body)
        at = put_bytes(at, whose)
        if path_text is NULL:
            at = put_bytes(at, path)
        else:
            at = put_path(at, path_text, len(self.path))
        put_bytes(at, rest)
        return encoded

    def let_go(self):
        self.scope, self.headers = {}, {}
        self._traceparent = self._host = self._agent = None
        self.error = None
        self.stacktrace = ""
        self._receive, self._send = self.gone, _to_nobody


cdef inline char* put_path(char* target, const char* text, Py_ssize_t size) noexcept:
    """Write a path as an attribute whose lengths all fit into one byte."""
    cdef Py_ssize_t key = PyBytes_GET_SIZE(_PATH_KEY)
    target[0], target[1], target[2], target[3] = 0x4A, <char>(6 + key + size), 0x0A, <char>key
    target = put_bytes(target + 4, _PATH_KEY)
    target[0], target[1], target[2], target[3] = 0x12, <char>(2 + size), 0x0A, <char>size
    return put(target + 4, text, size)


cdef str json_path(str path):
    cdef Py_ssize_t size, i
    cdef const char* text
    if len(path) > LONGEST_SHORT_PATH or not path.isascii():
        return json_text(path)
    text = utf8(path, &size)
    for i in range(size):
        if not is_plain(text[i]):
            return json_text(path)
    return f'"{path}"'


include "_driving.pxi"


def serve(layer, scope, receive, send):
    """Return what to await for a request, None where `TelemetryMiddleware.__call__` has to serve it.

    ASGI is taken at its word: a scope is a dict, a method a string.
    """
    cdef Serving serving
    if type(scope) is not dict or get(scope, "type") != "http" or SCOPE_KEY in <dict>scope:
        return None
    if type(get(scope, "method")) is not str or layer.recorder.obstacle or get(scope, "path") in layer.excluded:
        return None
    (<dict>scope)[FASTAPI_KEY] = None
    serving = Serving.__new__(Serving)
    serving.layer, serving.scope, serving.receive, serving.send_on = layer, scope, receive, send
    return serving
