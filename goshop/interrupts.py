"""Ctrl-C, SIGTERM and SIGHUP as one exception that cleans up on its way, and never in the middle of the cleaning."""

import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Somebody asked this process to end; `number` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """While entered, the first signal raises `Interrupted` in the main thread and later ones are ignored.

    After `hold`, a signal waits until the context ends. Handlers are set explicitly, because a background job of a shell
    inherits SIGINT as ignored; an ignored SIGHUP stays ignored, which is what nohup is for.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._held = False
        self._first: int | None = None
        self._raised = False

    def __enter__(self) -> Self:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if number is not signal.SIGHUP or handler is not signal.SIG_IGN:
                self._before[number] = handler
                signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._first is not None and not self._raised:
            raise Interrupted(self._first)

    def hold(self) -> None:
        """Let signals wait from now on: what follows is the clean-up."""
        self._held = True

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._first is not None:
            return
        self._first = number
        if not self._held:
            self._raised = True
            raise Interrupted(number)
