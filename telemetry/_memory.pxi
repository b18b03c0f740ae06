"""Text and numbers as plain memory, for `_hotpath.pyx`. A pointer that is returned stands behind what was written."""

cdef const char* HEXADECIMAL = "0123456789abcdef"
# In nanoseconds, a fortnight: a double holds it, and how far it is from the next tie.
cdef int64_t LONGEST_EXACT = <int64_t>1 << 50


cdef inline int64_t now(int clock) noexcept nogil:
    cdef timespec moment
    clock_gettime(clock, &moment)
    return <int64_t>moment.tv_sec * SECOND + moment.tv_nsec


cdef inline uint8_t value_of(char digit) noexcept nogil:
    """Return the value of a lower-case hexadecimal digit, 255 for anything else."""
    if c"0" <= digit <= c"9":
        return <uint8_t>(digit - c"0")
    return <uint8_t>(digit - c"a" + 10) if c"a" <= digit <= c"f" else 255


cdef inline bint is_plain(char character) noexcept nogil:
    """Tell whether JSON has an ASCII character as it is."""
    return 0x20 <= character < 0x7F and character != c'"' and character != 0x5C


cdef inline bint is_id(const char* text, int length) noexcept nogil:
    """Tell whether a text is an id: lower-case hexadecimal digits, not all of them 0."""
    cdef uint8_t some = 0, value
    cdef int i
    for i in range(length):
        value = value_of(text[i])
        if value > 15:
            return False
        some |= value
    return some != 0


cdef inline void to_bytes(const char* digits, char* target, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        target[i] = <char>(value_of(digits[2 * i]) << 4 | value_of(digits[2 * i + 1]))


cdef inline str hexadecimal(uint64_t number):
    cdef char[16] digits
    cdef int i
    for i in range(16):
        digits[15 - i] = HEXADECIMAL[number & 15]
        number >>= 4
    return PyUnicode_DecodeASCII(digits, 16, NULL)


cdef inline const char* utf8(object text, Py_ssize_t* size) except NULL:
    return PyUnicode_AsUTF8AndSize(text, size)


cdef inline const char* digits_of(str text, Py_ssize_t length) except NULL:
    """Return the digits of an id; raises `ValueError` when somebody has put something else in its place."""
    cdef Py_ssize_t size = 0
    cdef const char* digits = PyUnicode_AsUTF8AndSize(text, &size)
    if size != length:
        raise ValueError(f"an id of {length} digits is {text!r}")
    return digits


cdef inline char* put(char* target, const char* source, Py_ssize_t size) noexcept nogil:
    memcpy(target, source, size)
    return target + size


cdef inline char* put_bytes(char* target, bytes source) noexcept:
    return put(target, PyBytes_AS_STRING(source), PyBytes_GET_SIZE(source))


cdef inline char* put_fixed64(char* target, uint8_t tag, int64_t number) noexcept nogil:
    cdef int i
    target[0] = <char>tag
    for i in range(8):
        target[1 + i] = <char>(number >> 8 * i & 255)
    return target + 9


cdef int write_milliseconds(char* target, int64_t nanoseconds) except -1:
    """Write a duration as `f"{nanoseconds / 1e6:.3f}"` does, in at most 32 bytes; returns how many."""
    cdef int64_t micros = (nanoseconds + 500) // 1000
    cdef int size = 0, kind, i
    cdef char[24] digits
    cdef char* text
    if nanoseconds < 0 or nanoseconds > LONGEST_EXACT or nanoseconds % 1000 == 500:
        # A tie is decided by the binary fraction, as there.
        text = PyOS_double_to_string(nanoseconds / 1e6, c"f", 3, 0, &kind)
        size = <int>strlen(text)
        memcpy(target, text, size)
        PyMem_Free(text)
        return size
    while micros or size < 4:
        digits[size] = <char>(c"0" + micros % 10)
        micros //= 10
        size += 1
    for i in range(size - 3):
        target[i] = digits[size - 1 - i]
    target[size - 3] = c"."
    for i in range(3):
        target[size - 2 + i] = digits[2 - i]
    return size + 1


cdef object get(object from_, object key):
    """Return what a dictionary has, None where it has nothing; of a subclass, too, whose own ways are not asked."""
    cdef PyObject* found = PyDict_GetItemWithError(from_, key)
    return <object>found if found is not NULL else None


cdef tuple _NOTHING = ()


cdef inline object new(kind):
    """Make an object without its `__init__`."""
    return (<PyTypeObject*>kind).tp_new(kind, <PyObject*>_NOTHING, NULL)
