"""What is awaited for a request, for `_hotpath.pyx`: a step of the application is one call in C.

A coroutine would be a generator with a frame of its own for each; what the event loop is asked for passes through here
untouched, and so does what it answers, an exception thrown in included. Whoever drives one finds what a coroutine does: begun by
its first step, driven by one at a time, and once.
"""

cdef object _RETURNED = object()

cdef enum:
    # As `inspect.getcoroutinestate` names them.
    CREATED
    RUNNING
    SUSPENDED
    CLOSED


cdef class Driven:
    """An awaitable that passes on what another one awaits, and does something once that is over."""

    cdef object inner, error, traceback
    cdef int state

    cdef object begin(self):
        """Return the coroutine to drive; called by the first step."""

    cdef bint returned(self) except -1:
        """The coroutine has returned; true when all is done, false when there is another one to drive."""
        return True

    cdef bint raised(self) except -1:
        """The coroutine has raised `error`; true when that is to be raised, false when there is another one to drive."""
        return True

    def __await__(self):
        if self.state == SUSPENDED:
            raise RuntimeError("coroutine is being awaited already")
        return self

    def __next__(self):
        told = self.step(None, None)
        if told is _RETURNED:
            raise StopIteration
        return told

    def send(self, value):
        told = self.step(value, None)
        if told is _RETURNED:
            raise StopIteration
        return told

    def throw(self, *thrown):
        told = self.step(None, thrown)
        if told is _RETURNED:
            raise StopIteration
        return told

    def close(self):
        if self.state == CREATED:
            self.state = CLOSED
        if self.state == CLOSED:
            return
        try:
            self.throw(GeneratorExit)
        except (GeneratorExit, StopIteration):
            return
        raise RuntimeError("coroutine ignored GeneratorExit")

    def __del__(self):
        if self.state == CREATED:
            PyErr_WarnFormat(RuntimeWarning, 1, "coroutine '%s' was never awaited", <const char*>"RequestRecord.send")
        elif self.state == SUSPENDED:
            self.close()

    cdef object step(self, value, thrown):
        """Drive the coroutine, and what follows it, to what the event loop is asked for; `_RETURNED` at the end."""
        cdef object told = _RETURNED
        cdef bint created = self.state == CREATED
        if self.state == RUNNING:
            raise ValueError("coroutine already executing")
        if self.state == CLOSED:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.state = RUNNING
        try:
            if thrown is None:
                told = self.drive(value)
            elif created:
                # What has not begun never will; a coroutine that has not either says how that goes.
                awaiting(None).throw(*thrown)
            else:
                told = self.drive_thrown(thrown)
        finally:
            self.state = CLOSED if told is _RETURNED else SUSPENDED
        if self.error is not None and told is _RETURNED:
            self.raise_error()
        return told

    cdef object drive(self, value):
        cdef PyObject* told = NULL
        while True:
            try:
                if self.inner is None:
                    self.inner = self.begin()
                if PyIter_Send(self.inner, value, &told) == PYGEN_NEXT:
                    return taken(told)
                Py_DECREF(<object>told)
            except BaseException as error:
                self.keep(error)
                if self.raised():
                    return _RETURNED
            else:
                if self.returned():
                    return _RETURNED
            value = None

    cdef object drive_thrown(self, tuple thrown):
        try:
            if thrown[0] is GeneratorExit or isinstance(thrown[0], GeneratorExit):
                # Closed from the inside out, as coroutines are: one that goes on is an error of the next.
                self.inner.close()
                raise GeneratorExit
            return self.inner.throw(*thrown)
        except StopIteration:
            over = self.returned()
        except BaseException as error:
            self.keep(error)
            over = self.raised()
        return _RETURNED if over else self.drive(None)

    cdef int keep(self, error) except -1:
        self.error = error
        # The outermost frame is the one above, which says nothing.
        traceback = error.__traceback__
        self.traceback = None if traceback is None else traceback.tb_next
        return 0

    cdef int raise_error(self) except -1:
        """Raise what was raised, as it came: `raise` would make what somebody further out handles its context."""
        error, self.error = self.error, None
        traceback, self.traceback = self.traceback, None
        if isinstance(error, StopIteration):
            raise RuntimeError("coroutine raised StopIteration") from error
        PyErr_Restore(owned(type(error)), owned(error), NULL if traceback is None else owned(traceback))
        return -1


@cython.final
cdef class Answer(Driven):
    """One message of an answer on its way to the server."""

    cdef RequestCore request
    cdef dict message
    cdef bint last

    cdef object begin(self):
        request = self.request
        return coroutine_of(request._send(self.message if self.last else request.with_headers(self.message)))

    cdef bint returned(self) except -1:
        request, self.request = self.request, None
        self.inner = None
        if self.last:
            request.ended_answer()
        else:
            request.started_answer(self.message)
        return True

    cdef bint raised(self) except -1:
        self.request = self.inner = None
        return True


@cython.final
cdef class Serving(Driven):
    """A request on its way through the application: what `TelemetryMiddleware.__call__` does, step by step."""

    cdef RequestCore request
    cdef object layer, receive, send_on, token
    cdef dict scope
    cdef bint answering, failing

    cdef object begin(self):
        cdef RequestCore request = new(self.layer.usual)
        request.take(self.layer, self.scope, self.receive, self.send_on)
        self.scope[SCOPE_KEY] = self.request = request
        context = request.start_span()
        self.token = attach(context) if _context_of_task is None else _context_of_task.set(context)
        return coroutine_of(self.layer.app(self.scope, request.receive, request.send))

    cdef bint returned(self) except -1:
        if self.answering or self.failing or self.request.status:
            self.leave()
            return True
        self.answering = True
        self.inner = self.request.answer_defect()
        return False

    cdef bint raised(self) except -1:
        if self.failing or self.request is None:
            self.leave()
            return True
        self.failing = True
        self.inner = handle(self.request, self.error)
        return False

    cdef int leave(self) except -1:
        request, self.request = self.request, None
        token, self.token = self.token, None
        scope, self.scope = self.scope, None
        self.layer = self.receive = self.send_on = self.inner = None
        if request is None:
            return 0
        request.finish()
        if token is not None:
            leave_context(token)
        scope.pop(SCOPE_KEY, None)
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


cdef inline PyObject* owned(thing):
    """Return what somebody else may have."""
    Py_INCREF(thing)
    return <PyObject*>thing


cdef inline object taken(PyObject* owned):
    """Return what is ours already."""
    told = <object>owned
    Py_DECREF(told)
    return told
