"""Where a report goes: the terminal, a JSON file, a page, a JUnit file, annotations for GitHub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dualml.cli.exit_codes import DIFFERS, DONE, UNDECIDED
from dualml.cli.output import check_target, write_json
from dualml.errors import RunError
from dualml.parity.report import Report

EXIT_CODES = {"equal": DONE, "different": DIFFERS, "undecided": UNDECIDED}


@dataclass(frozen=True)
class Outputs:
    """What the user asked for.

    Attributes:
        json: File of the JSON report; ``-`` is stdout.
        html: File of the page.
        junit: File of the JUnit report.
        github: Whether annotations are printed.
        quiet: Whether the card is left out.
    """

    json: str | None = None
    html: str | None = None
    junit: str | None = None
    github: bool = False
    quiet: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing but the result itself is printed."""
        return self.quiet or self.json == "-"

    def check(self) -> None:
        """Refuse what cannot be written, before the work is done.

        Raises:
            RunError: A target is a folder or in a folder that does not exist, or two results want stdout.
        """
        check_target("--json", self.json)
        for flag, target in (("--html", self.html), ("--junit", self.junit)):
            if target == "-":
                raise RunError(f"{flag} -: must be a file; only --json can write to stdout")
            check_target(flag, target)
        if self.github and self.json == "-":
            raise RunError("--github prints to stdout, and so does --json -: give --json a file")

    def write(self, report: Report) -> int:
        """Write all of it; returns the exit code.

        Raises:
            RunError: A file cannot be written.
        """
        write_json(self.json, report.to_dict())
        if self.html is not None:
            report.to_html(self.html)
        if self.junit is not None:
            from dualml.parity.ci import write_junit

            write_junit(report, Path(self.junit))
        if not self.silent:
            report.show()
        if self.github:
            from dualml.parity.ci import github_annotations

            for line in github_annotations(report):
                print(line)
        return EXIT_CODES[report.verdict]
