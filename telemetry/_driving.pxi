"""What is awaited for a request, for `_hotpath.pyx`: a step of the application is one call in C.

A coroutine would be a generator with a frame of its own for each; what the event loop is asked for passes through here
untouched, and so does what it answers, an exception thrown in included.
"""

cdef object _RETURNED = object()


cdef class Driven:
    """An awaitable that passes on what another one awaits, and does something once that is over."""

    cdef object inner

    cdef object begin(self):
        """Return the coroutine to drive; called by the first step."""

    cdef bint returned(self) except -1:
        """The coroutine has returned; true when all is done, false when there is another one to drive."""
        return True

    cdef bint raised(self, error) except -1:
        """The coroutine has raised; true when that is to be raised, false when there is another one to drive."""
        return True

    def __await__(self):
        return self

    def __next__(self):
        told = self.step(None)
        if told is _RETURNED:
            raise StopIteration
        return told

    def send(self, value):
        told = self.step(value)
        if told is _RETURNED:
            raise StopIteration
        return told

    cdef object step(self, value):
        """Drive the coroutine, and what follows it, to what the event loop is asked for; `_RETURNED` at the end."""
        cdef PyObject* told = NULL
        while True:
            try:
                if self.inner is None:
                    self.inner = self.begin()
                if PyIter_Send(self.inner, value, &told) == PYGEN_NEXT:
                    return taken(told)
                Py_DECREF(<object>told)
            except BaseException as error:
                if self.raised(error):
                    raise
            else:
                if self.returned():
                    return _RETURNED
            value = None

    def throw(self, *thrown):
        try:
            if self.inner is None:
                self.inner = self.begin()
            return self.inner.throw(*thrown)
        except StopIteration:
            over = self.returned()
        except BaseException as error:
            over = self.raised(error)
            if over:
                raise
        told = _RETURNED if over else self.step(None)
        if told is _RETURNED:
            raise StopIteration
        return told

    def close(self):
        if self.inner is None:
            return
        try:
            self.throw(GeneratorExit)
        except (GeneratorExit, StopIteration):
            return
        raise RuntimeError("coroutine ignored GeneratorExit")


@cython.final
cdef class Answer(Driven):
    """One message of an answer on its way to the server."""

    cdef RequestCore request
    cdef dict message
    cdef bint last

    cdef object begin(self):
        request = self.request
        if request is None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return coroutine_of(request._send(self.message if self.last else request.with_headers(self.message)))

    cdef bint returned(self) except -1:
        request, self.request = self.request, None
        self.inner = None
        if self.last:
            request.ended_answer()
        else:
            request.started_answer(self.message)
        return True

    cdef bint raised(self, error) except -1:
        self.request = self.inner = None
        return True


@cython.final
cdef class Serving(Driven):
    """A request on its way through the application: what `TelemetryMiddleware.__call__` does, step by step."""

    cdef RequestCore request
    cdef object app, token
    cdef bint concluding

    cdef object begin(self):
        request = self.request
        if request is None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        context = request.start_span()
        self.token = attach(context) if _context_of_task is None else _context_of_task.set(context)
        return coroutine_of(self.app(request.scope, request.receive, request.send))

    cdef bint returned(self) except -1:
        if self.concluding or self.request.status:
            self.leave()
            return True
        self.conclude(None)
        return False

    cdef bint raised(self, error) except -1:
        if self.concluding or self.request is None:
            self.leave()
            return True
        self.conclude(error)
        return False

    cdef int conclude(self, error) except -1:
        self.concluding = True
        self.inner = conclude(self.request, error)

    cdef int leave(self) except -1:
        request, self.request = self.request, None
        token, self.token = self.token, None
        self.app = self.inner = None
        if request is None:
            return 0
        request.finish()
        if token is not None:
            leave_context(token)
        request.scope.pop(SCOPE_KEY, None)
        request.let_go()


cdef object coroutine_of(awaitable):
    """Return a coroutine that awaits what is none itself."""
    return awaitable if PyCoro_CheckExact(awaitable) or type(awaitable) is Answer else awaiting(awaitable)


cdef int leave_context(token) except -1:
    if _context_of_task is not None:
        try:
            _context_of_task.reset(token)
        except ValueError:
            # Ended in another task's context: the public function says so in the log.
            pass
        else:
            return 0
    detach(token)
    return 0


cdef inline object taken(PyObject* owned):
    """Return what is ours already."""
    told = <object>owned
    Py_DECREF(told)
    return told
