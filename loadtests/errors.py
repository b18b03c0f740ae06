"""What can go wrong before a load exists to be judged.

LoadError            the load cannot be run, or its traces cannot be read
├── K6Missing        no k6, or what is called k6 does not run
└── SeedError        the shop did not take the data that the load needs
"""


class LoadError(Exception):
    """The load cannot be run, or what it left cannot be read; the message says what to do."""


class K6Missing(LoadError):
    """There is no k6 that runs."""


class SeedError(LoadError):
    """The shop did not take the data that the load needs."""
