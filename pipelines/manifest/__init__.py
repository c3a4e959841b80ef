"""The manifest: a row for every input pair, kept or not, as families of Parquet parts under one root.

    sources/<source>.json                      the source's files with their ordinals
    manifest/<family>/<source>/<part>.parquet  sorted by sample_id
    receipts/<family>/<source>/<part>.json     what was done to make it
    images/<source>/<part>/<chunk>.tar         what fetch kept

`connect(root)` gives a DuckDB connection with the view `manifest` and one view per family.
"""

from pipelines.manifest.view import connect

__all__ = ["connect"]
