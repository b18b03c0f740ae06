"""`python -m goshop`."""

from goshop.cli import main

main()
