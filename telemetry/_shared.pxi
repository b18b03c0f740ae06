"""What requests share, as memory, for `_hotpath.pyx`: made once from the Python objects of the same names."""


cdef class LayerCore:
    """What every request asks its layer for."""

    cdef object shapes, peers, write, in_progress, methods, output
    cdef bint trusted

    def __init__(self, layer):
        self.shapes, self.peers = layer.shapes, layer.peers
        self.in_progress, self.methods, self.trusted = layer.in_progress, layer.methods, layer.trust_incoming
        self.write = layer.write
        self.output = getattr(layer.write, "__self__", None)
        if type(self.output) is not LineOutput:
            self.output = None

    cdef int tell(self, bytes line) except -1:
        """Write a line; see `LineOutput.write`."""
        output = self.output
        if output is None:
            self.write(line)
            return 0
        cdef list lines = output._lines
        lines.append(line)
        cdef tuple home = output._home
        if not output._asked or home[0] != get_ident() or not home[1]() or len(lines) >= TURN_LINES:
            output._ask()
        return 0


cdef class ShapeCore:
    """What requests of one shape share, as memory."""

    cdef bytes body, before_path, message_end, after_ids, after_path, end
    cdef object cell
    cdef list fresh, exemplars
    cdef int64_t[MOST_BOUNDS] bounds
    cdef Py_ssize_t bound_count, line_size

    def __init__(self, shape):
        self.body = shape.template.body
        self.before_path, self.message_end = shape.before_path.encode(), shape.message_end.encode()
        self.after_ids, self.after_path = shape.after_ids.encode(), shape.after_path.encode()
        self.end = shape.end.encode()
        pieces = self.before_path, self.message_end, self.after_ids, self.after_path, self.end
        self.line_size = sum(map(len, pieces))
        self.cell = shape.cell
        self.fresh, self.exemplars = shape.cell._fresh, shape.cell._exemplars
        self.bound_count = len(shape.cell._bounds)
        if self.bound_count > MOST_BOUNDS:
            raise ValueError("a histogram has more buckets than the compiled path has room for")
        for index, bound in enumerate(shape.cell._bounds):
            self.bounds[index] = bound

    cdef int observe(self, int64_t duration, str trace_id) except -1:
        """Observe a duration; see `Cell.observe`."""
        cdef Py_ssize_t bucket = 0
        if trace_id is not None:
            while bucket < self.bound_count and self.bounds[bucket] < duration:
                bucket += 1
            self.exemplars[bucket] = (trace_id, duration, now(CLOCK_REALTIME) / 1e9)
        self.fresh.append(duration)
        if len(self.fresh) >= BATCH:
            self.cell.count_if_free()
        return 0


cdef class PeerCore:
    """What requests of one peer share, as memory."""

    cdef bytes body, line

    def __init__(self, peer):
        self.body, self.line = peer.body, peer.line.encode()


cdef inline object core_of(told, kind):
    core = told.compiled
    if core is None:
        core = told.compiled = kind(told)
    return core
