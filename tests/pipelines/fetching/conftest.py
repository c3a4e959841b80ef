"""What all tests of fetching share."""

import pytest

from pipelines.fetching import robots


@pytest.fixture(autouse=True, scope="module")
def empty_robots_cache() -> None:
    """Tests use the same host names on different ports."""
    robots._CACHE.clear()
