"""What follows from a specification: rules and alerts for Prometheus, thresholds for k6, a table for people.

    from slo.generation.artefacts import artefacts
    files = artefacts(load_specification([Path("slo/specs")]))     # path -> bytes

The same specification gives the same bytes, whatever files it stood in and whichever Python reads it.
"""
