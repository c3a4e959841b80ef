"""The argument parser of every job: an error is one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

JSON = "--json"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def job_parser(job: str, description: str) -> Parser:
    """The parser of a job that ends with counts: `--json` prints them as JSON on a terminal too."""
    parser = Parser(
        prog=f"pairmill {job}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # so that `--json` is written in full, and is found without parsing
    )
    parser.add_argument(JSON, action="store_true", help="end with the counts as one line of JSON, as where stdout is no terminal")
    return parser
