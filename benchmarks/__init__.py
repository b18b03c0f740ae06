"""Benchmarks: how the cost grows, side by side in one run, medians with spread. Not timed tests."""
