"""The error classes, and how --retry names them."""

import pytest

from infra.compat.errors import RequestError
from pipelines.fetching.errors import ERRORS, http_error, parse_classes, status_of


def test_retry_failed_means_every_class_but_refusals() -> None:
    assert set(parse_classes("failed")) == {error for error in ERRORS if status_of(error) == "failed"}
    both = parse_classes("timeout,failed,timeout")
    assert both[0] == "timeout" and sorted(both) == sorted(parse_classes("failed"))
    assert parse_classes("") == ()


def test_an_unknown_class_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match=r"--retry 'timeot' is no error class; did you mean 'timeout'\?"):
        parse_classes("timeot")


@pytest.mark.parametrize("status, error", [(404, "http_404"), (418, "http_4xx"), (503, "http_5xx"), (204, "http_other")])
def test_every_http_status_has_a_class(status: int, error: str) -> None:
    assert http_error(status) == error and error in ERRORS
