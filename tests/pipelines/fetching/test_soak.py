"""A long download run ends, accounts for every URL with the right class, stays small, and loses no sound picture."""

import json
import subprocess
import sys

import pytest

from tests import ROOT


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_urls_with_the_faults_of_the_web() -> None:
    command = [sys.executable, "-m", "tests.support.soak", "100000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["urls"] == 100_000 and counts["peak_mib"] < 1024
    assert counts["wrong"] == {}
