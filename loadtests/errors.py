"""What can go wrong before a load exists to be judged.

LoadError            the load cannot be run, or its traces cannot be read
├── K6Missing        no k6, or what is called k6 does not run
├── ScriptError      k6 cannot run the script, or what it will do is not planned
└── SeedError        the shop did not take the data that the load needs
"""


class LoadError(Exception):
    """The load cannot be run, or what it left cannot be read; the message says what to do."""


class K6Missing(LoadError):
    """There is no k6 that runs."""


class ScriptError(LoadError):
    """k6 cannot run the script, or it says too little of what it will do to be judged; the message says what to add."""


class SeedError(LoadError):
    """The shop did not take the data that the load needs."""
