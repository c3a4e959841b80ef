"""The manifest: a row for every input pair, kept or not, as families of Parquet parts under one root.

    sources/<source>/<ordinal>.json                   a registered file of the source
    manifest/<family>/source=<source>/<part>.parquet  sorted by sample_id
    receipts/<family>/source=<source>/<part>.json     what was done to make it
    images/<source>/<part>/<chunk>.tar                what fetch kept

`connect(root)` gives a DuckDB connection with the view `manifest` and one view per family.

storage.py        whole-file reads and atomic writes, on a folder or any fsspec URI
parquet.py        tables as bytes, always the same
tables.py         families and their columns
ids.py            sample ids
registry.py       records of registered files, safe where several jobs register at once
parts.py          the files of a source, and the parts they are cut into
removal.py        parts that are no longer registered
receipts.py       what a step did to a part
score_columns.py  the columns of `scores` beyond those that every manifest has
embeddings.py     embeddings of pictures: one memory map a part
precedence.py     which value wins where several families know it
selection.py      which samples are still in
pictures.py       where a picture's bytes lie, and that they are still those that were fetched
join.py           the columns of one part, from its families
view.py           the manifest as SQL
query_columns.py  which columns of the view a query uses
layout.py         manifests of earlier versions
"""

from pipelines.manifest.embeddings import read_embeddings
from pipelines.manifest.join import read_columns
from pipelines.manifest.storage import Storage
from pipelines.manifest.view import connect

__all__ = ["Storage", "connect", "read_columns", "read_embeddings"]
