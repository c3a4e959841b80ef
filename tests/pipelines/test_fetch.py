"""A fetch that lost URLs to a fault of ours says so, and the next one requests them."""

from pathlib import Path

import pytest

from pipelines import fetch
from pipelines.fetching.errors import INTERRUPTED
from pipelines.fetching.part import FetchOptions
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.runtime.command_line import summary
from pipelines.runtime.step import Outcome


def receipt_of(part: Part, counts: dict[str, int]) -> Receipt:
    """What `fetch` did to a part."""
    return Receipt("fetch", part.source, part.name, "", "", part.rows, part.rows, counts, {}, {}, 0.0, "")


def test_a_part_that_a_fault_ended_is_named_and_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, options = Storage(str(tmp_path)), FetchOptions(FetchSettings())
    whole, cut = (Part("coyo", file, 0, 5) for file in range(2))
    receipts = {whole: receipt_of(whole, {"ok": 5}), cut: receipt_of(cut, {"ok": 2, f"reason.{INTERRUPTED}": 3})}
    for part, receipt in receipts.items():
        write_receipt(storage, part, receipt)
    again: list[bool] = []

    def run_step(*arguments: object, **options: object) -> Outcome:
        again.extend(options["again"](receipt) for receipt in receipts.values())
        outcome = Outcome(parts=2)
        for receipt in receipts.values():
            outcome.counts.update(receipt.counts)
        return outcome

    monkeypatch.setattr(fetch, "run_step", run_step)
    outcome = fetch.run_fetch(storage, [whole, cut], options)
    assert again == [False, True]
    assert list(outcome.failed) == [str(cut)] and "3 samples" in outcome.failed[str(cut)]
    assert "run fetch again" in str(summary(outcome))
