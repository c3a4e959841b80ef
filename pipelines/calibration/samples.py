"""The samples that a stage judges, with the columns its rules read: all of a source, or a share drawn by a hash of the id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from filters import stage2
from filters.text.repair import repair
from pipelines.calibration.stages import Stage
from pipelines.manifest import connect
from pipelines.recipe import Recipe


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
        shown = ["caption"] if self.stage.judges_captions else []
        query = f"""
            select {", ".join(f'"{column}"' for column in dict.fromkeys(["sample_id", *shown, *columns]))} from manifest
            where source = $source and hash(sample_id) % $one_in = 0 and {self.stage.judged}
        """
        table = self.connection.sql(query, params={"source": source, "one_in": one_in}).to_arrow_table()
        return Samples(table, max(len(table), round(self.totals[source] / one_in), 1), one_in)


def as_judged(samples: Samples, stage: Stage, recipe: Recipe) -> Samples:
    """The samples with the columns as a stage's rules read them: captions repaired, and what they alone give computed anew.

    What stage 2 wrote may be of other settings, or not be there yet.
    """
    table = samples.table
    if not stage.judges_captions or not len(table):
        return samples
    captions = table["caption"]
    computed = stage2.columns_of(captions, repair(captions) if recipe.stage2_repairs() else None)
    for place, name in enumerate(table.column_names):
        if name in computed.column_names:
            table = table.set_column(place, name, pc.coalesce(computed[name], table[name]))
    return samples._replace(table=table)
