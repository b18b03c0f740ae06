"""`goshop` with a load that is FACTOR times as long: `-m tests.goshop.shortened FACTOR gate ...`; the rest is as people use it.

For runs that must fail: a run as short as this never passes (slo.judge), but a fault that strikes all of it is as clear.
"""

import sys

from goshop.cli import main
from loadtests import PROFILES

factor = float(sys.argv.pop(1))
PROFILES.update({name: profile.shortened(factor) for name, profile in PROFILES.items()})
main(prog_name="goshop")
