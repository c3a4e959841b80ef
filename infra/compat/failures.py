"""One line for each failure that the world causes: files, permissions, disks, networks, object stores.

Libraries raise these as many kinds of exception. Those known here are told in one line, with the path and how to fix it; any
other exception is a bug, and keeps its traceback.
"""

from __future__ import annotations

import errno
import re

from infra.compat.errors import RequestError

CHECK_KEYS = "check the keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or FSSPEC_S3) and what they may do"
NEEDS = re.compile(
    r"^(?:please )?(?:install|pip install) (?:the )?[\"'`]?(?P<package>[A-Za-z0-9_.-]+)|^(?P<other>\S+) not installed", re.I
)
# What to do about an OSError, by its number.
FIXES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "change its permissions, or name another path",
    errno.EPERM: "change its permissions, or name another path",
    errno.EROFS: "name a path that can be written",
    errno.ENOSPC: "free space there and run it again",
    errno.EDQUOT: "free space there and run it again",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f) and run it again",
    errno.ENOTDIR: "a file stands where a folder should be; move it, or name another path",
    errno.EEXIST: "a file stands where a folder should be; move it, or name another path",
    errno.EISDIR: "name a file in it",
    errno.EMFILE: "raise the limit on open files (ulimit -n) and run it again",
    errno.ECONNREFUSED: "check the address, and that a server runs there",
    errno.ETIMEDOUT: "check the address and the network",
    errno.EIO: "check the disk or the object store, and run it again",
}
# Those of botocore's errors that no library below us turns into an OSError, by their class.
BOTOCORE = {
    "NoCredentialsError": CHECK_KEYS,
    "PartialCredentialsError": CHECK_KEYS,
    "ProfileNotFound": CHECK_KEYS,
    "ClientError": CHECK_KEYS,
    "EndpointConnectionError": "check the address of the object store and the network",
    "ConnectTimeoutError": "check the address of the object store and the network",
    "ReadTimeoutError": "check the network, and run it again",
    "ConnectionClosedError": "check the network, and run it again",
    "HTTPClientError": "check the network, and run it again",
}


def failure_line(error: BaseException) -> str | None:
    """What failed, where and how to fix it, in one line; None for an exception that is not of a known kind."""
    if isinstance(error, RequestError):
        return str(error)
    if isinstance(error, (ImportError, ValueError)) and (line := _file_system_line(error)):
        return line
    library, kind = type(error).__module__.partition(".")[0], type(error).__name__
    if library == "botocore" and kind in BOTOCORE:
        return f"{_words(error)} ({BOTOCORE[kind]})"
    if library in ("duckdb", "_duckdb") and kind in ("IOException", "InvalidInputException"):
        return f"{_words(error)}; delete a file that is broken, and run the job that wrote it again"
    if library == "aiohttp" and kind == "ClientResponseError":
        status, where = getattr(error, "status", ""), getattr(getattr(error, "request_info", None), "real_url", "")
        return f"{where} answers {status} {getattr(error, 'message', '')}; check the address and that it may be read"
    return _os_line(error) if isinstance(error, OSError) else None


def _file_system_line(error: Exception) -> str | None:
    """The line for an error of fsspec's registry: a scheme that it does not know, or that needs a package."""
    from fsspec.registry import known_implementations

    text = str(error)
    if isinstance(error, ValueError):
        unknown = text.removeprefix("Protocol not known: ")
        return (
            None if unknown == text else f"no file system has the scheme {unknown}://; a path, s3://, gs:// and https:// are some"
        )
    if text not in {entry.get("err") for entry in known_implementations.values()}:
        return None
    package = NEEDS.match(text)
    fix = f"pip install {package['package'] or package['other']}" if package else "install its package"
    return f"a URI needs a package that is not installed ({text}); {fix}"


def _os_line(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or _words(error) or type(error).__name__
    if isinstance(error, PermissionError) and not error.filename:
        return f"{what} (no permission: {CHECK_KEYS})"
    number = errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno
    fix = FIXES.get(number or 0, "check the path and the network, and run it again")
    return f"{where}{_words(what)}; {fix}"


def _words(text: object) -> str:
    """The text on one line."""
    return " ".join(str(text).split())
