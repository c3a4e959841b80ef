"""The closed list of error classes: the column `error` of the family `fetch`."""

from __future__ import annotations

from infra.compat.errors import RequestError, nearest

REFUSED = ("bad_url", "refused_port", "refused_address", "blocked", "robots", "opt_out")
HOST_DOWN, OUT_OF_TIME = "host_down", "out_of_time"
INTERRUPTED = "interrupted"  # a fault of ours ended the chunk before the URL's turn; the next run requests it again
INTERNAL_ERROR, OUT_OF_MEMORY, DECODER_CRASH = "internal_error", "out_of_memory", "decoder_crash"
ERRORS = (
    *REFUSED,
    "dns",
    "connect",
    "tls",
    "timeout",
    "bad_response",
    "redirect_limit",
    "http_404",
    "http_410",
    "http_403",
    "http_401",
    "http_429",
    "http_4xx",
    "http_5xx",
    "http_other",
    HOST_DOWN,
    OUT_OF_TIME,
    INTERRUPTED,
    INTERNAL_ERROR,
    OUT_OF_MEMORY,
    DECODER_CRASH,
    "too_large",
    "empty",
    "hash_mismatch",
    "not_an_image",
    "unsupported_image",
    "truncated",
    "corrupt_image",
    "too_many_pixels",
    "too_many_scans",
)
RETRYABLE = {"timeout", "connect", "http_429", "http_5xx", "bad_response"}
ALL_FAILED = "failed"  # in --retry: every class but the refusals


def status_of(error: str | None) -> str:
    """The column `status`: `ok`, `refused` (by our policy or by the host's robots.txt or headers) or `failed`."""
    return "ok" if error is None else "refused" if error in REFUSED else "failed"


def http_error(status: int) -> str:
    """The class of an HTTP status that is neither success nor redirect."""
    name = f"http_{status}"
    return name if name in ERRORS else {4: "http_4xx", 5: "http_5xx"}.get(status // 100, "http_other")


def parse_classes(text: str) -> tuple[str, ...]:
    """The error classes of a comma-separated list, without repetition; RequestError for an unknown one."""
    classes: list[str] = []
    for name in filter(None, text.split(",")):
        if name not in (*ERRORS, ALL_FAILED):
            raise RequestError(f"--retry {name!r} is no error class; {nearest(name, [*ERRORS, ALL_FAILED])}")
        classes += [error for error in ERRORS if status_of(error) == "failed"] if name == ALL_FAILED else [name]
    return tuple(dict.fromkeys(classes))
