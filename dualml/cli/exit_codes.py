"""Exit codes of the commands."""

DONE, DIFFERS, WRONG_INPUT, UNDECIDED = 0, 1, 2, 3
"""Exit codes: done and parity holds; parity differs; the user's input is wrong; undecided."""
BUG = 70
"""Exit code of an error in dualml itself (EX_SOFTWARE of sysexits.h): none of the published ones."""
