"""A real load on a machine that others use too: the gate itself says when it could not measure there, and may be asked again, once."""

import logging
import subprocess
from collections.abc import Callable

from slo.load import WAITED_OUTSIDE

logger = logging.getLogger(__name__)

Done = subprocess.CompletedProcess[str]


def until_measured(load: Callable[[], Done]) -> Done:
    """Return what a command with a load ended with; of two where the first one says that the machine was too busy."""
    done = load()
    if WAITED_OUTSIDE in done.stdout or WAITED_OUTSIDE in done.stderr:
        logger.warning("the machine was too busy to measure on; once more")
        return load()
    return done
