"""The specification: a strict subset of OpenSLO v1 (https://github.com/OpenSLO/OpenSLO) and our own ReleaseGate.

    specification = load_specification([Path("slo/specs")])     # slo.openslo.loading

`documents` is how it is spelled, `model` what readers are given, and what lies between finds everything that is wrong.
Importing the package imports none of them.
"""
