"""`make bench`: every benchmark, one after another."""

from benchmarks import judging

judging.main()
