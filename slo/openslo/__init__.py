"""The specification: a strict subset of OpenSLO v1 (https://github.com/OpenSLO/OpenSLO) and our own ReleaseGate.

`model` is what readers are given. Importing the package imports no more than that.
"""
