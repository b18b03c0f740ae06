"""Where lines go in tests, and what is said of those that got lost."""

from pathlib import Path

PATIENCE = 10.0
ROOT = Path(__file__).parents[3]


def told(lines: int) -> bytes:
    return b"lost %d\n" % lines


class Lost:
    def __init__(self) -> None:
        self.lines = 0.0

    def __call__(self, lines: float) -> None:
        self.lines += lines


class Written:
    """A destination that remembers each write."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lines = 0

    def write(self, data: bytes, lines: int) -> None:
        self.pieces.append(data)
        self.lines += lines

    def wait(self, timeout: float) -> None:
        pass

    def start_anew(self) -> None:
        pass
