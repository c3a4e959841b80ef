"""The samples that a stage judges, with the columns its rules read: all of a source, or a share drawn by a hash of the id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from filters import stage2
from pipelines.calibration.stages import Stage
from pipelines.manifest import connect


class Samples(NamedTuple):
    """Samples of one source: table[N], how many the shares are of (N ≤ total), and one in how many they are."""

    table: pa.Table
    total: int
    one_in: int


class SampledManifest:
    """The samples of a manifest that one stage judges.

    totals    source → how many the shares are of
    unjudged  source → how many of these the stage before has not judged: they count as kept by it
    """

    def __init__(self, root: str, stage: Stage) -> None:
        self.stage = stage
        self.connection = connect(root)
        counts = self.connection.sql(stage.counts).fetchall()
        self.totals: dict[str, int] = {source: total for source, total, _ in counts}
        self.unjudged: dict[str, int] = {source: unjudged for source, _, unjudged in counts}

    def read(self, source: str, columns: Iterable[str]) -> Samples:
        """The samples of a source, with these columns of the manifest; those that stage 2 judges with `caption` too."""
        one_in = max(1, -(-self.totals[source] // self.stage.most))
        judges_captions = self.stage.name == "stage2"
        columns = dict.fromkeys(["sample_id", *(["caption"] if judges_captions else []), *columns])
        query = f"""
            select {", ".join(f'"{column}"' for column in columns)} from manifest
            where source = $source and hash(sample_id) % $one_in = 0 and {self.stage.judged}
        """
        table = self.connection.sql(query, params={"source": source, "one_in": one_in}).to_arrow_table()
        if judges_captions:
            table = _with_computed(table)
        return Samples(table, max(len(table), round(self.totals[source] / one_in), 1), one_in)


def _with_computed(table: pa.Table) -> pa.Table:
    """table[N] with what captions alone give computed anew: what stage 2 wrote may be of other settings, or not be there yet."""
    computed = stage2.columns_of(table["caption"])
    for place, name in enumerate(table.column_names):
        if name in computed.column_names:
            table = table.set_column(place, name, pc.coalesce(computed[name], table[name]))
    return table
