"""How a process ends: its exit status, and one line on stderr for a failure that is no bug."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from infra.compat.failures import failure_line
from pipelines.runtime.terminal import printable

DONE, SOME_FAILED, WRONG_REQUEST = 0, 1, 2
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the signal, as shells report it


@contextmanager
def failures_in_one_line(job: str) -> Iterator[None]:
    """Ends the process where the block fails in a known way; an unexpected exception, a bug, passes with its traceback."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # as where `head` has read enough; never 0, as another pipe may have broken
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        sys.stderr.write(f"\npairmill {job}: stopped; run it again to go on\n")
        sys.exit(INTERRUPTED)
    except Exception as error:
        line = failure_line(error)
        if line is None:
            raise
        sys.stderr.write(f"pairmill {job}: {printable(line)}\n")  # names of files and columns are others' text
        sys.exit(WRONG_REQUEST)
