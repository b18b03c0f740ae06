"""Simulated releases before the gate's rule and before k6's own two rules; and pairings of recorded runs."""
