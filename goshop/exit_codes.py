"""What a command ends with where it reaches no answer: a sentence on stderr, and its exit code."""

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from goshop.streams import discard


class Failure(click.ClickException):
    """Ends the command with a sentence on stderr and exit 5: nothing was measured, a part did not start or died."""

    exit_code = 5

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print the sentence; where nobody can be told, the exit code alone says it."""
        from slo.report.foreign import spoken  # noqa: PLC0415 - see the module

        try:
            click.echo(spoken(f"goshop: {self.message}"), err=True)
        except OSError:
            discard("stderr")


class Misuse(Failure):
    """Ends the command with a sentence on stderr and exit 2: what was asked for does not fit."""

    exit_code = 2


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that a person can act on into one sentence, and Ctrl-C, SIGTERM, SIGHUP into 128 + the signal."""
    try:
        with _translated():
            yield
    except KeyboardInterrupt as interrupt:
        sys.exit(128 + getattr(interrupt, "number", signal.SIGINT))


@contextmanager
def _translated() -> Iterator[None]:
    from app.config import ConfigError  # noqa: PLC0415 - see the module
    from goshop.processes import StartError  # noqa: PLC0415 - see the module
    from goshop.run import RunFolderError  # noqa: PLC0415 - see the module

    try:
        yield
    except ConfigError as error:
        raise Misuse(str(error)) from None
    except (StartError, RunFolderError) as error:
        raise Failure(str(error)) from None


@contextmanager
def judged() -> Iterator[None]:
    """Turn what keeps a gate from judging into one sentence and its exit code."""
    from app.faults import FaultError  # noqa: PLC0415 - see the module
    from goshop.measurement import MeasurementFailed, WrongRequest  # noqa: PLC0415 - see the module
    from goshop.prometheus import PrometheusError  # noqa: PLC0415 - see the module
    from slo.openslo.loading import SpecificationError  # noqa: PLC0415 - see the module

    try:
        yield
    except (FaultError, SpecificationError, WrongRequest) as error:
        raise Misuse(str(error)) from None
    except (MeasurementFailed, PrometheusError, OSError) as error:
        raise Failure(str(error)) from None
    except click.ClickException:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it must not look like a verdict
        # Exit 1 would say that an objective was missed; a defect of ours says nothing about the release.
        traceback.print_exc()
        raise Failure("the gate itself failed; the lines above belong into a report of this defect") from None
