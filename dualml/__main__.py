"""``python -m dualml``."""

from dualml.cli.main import main

main()
