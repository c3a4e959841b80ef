"""The argument parser of every job: what is wrong is said in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with exit status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")
