"""`make bench`: the price of telemetry, or another benchmark by its name."""

import runpy
import sys

from benchmarks import PROGRAMS

if sys.argv[1:2] and sys.argv[1] in PROGRAMS:
    runpy.run_module(f"benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
else:
    # Not before: a program must not be found half imported.
    from benchmarks.chosen import main

    main()
