"""Benchmarks: `python -m infra.benchmarks NAME` prints one JSON object last: name, machine, figures, ratios.

captions.py  caption rules, beside Data-Juicer
demo.py      the demo as a person runs it
fetch.py     downloading, beside img2dataset
manifest.py  ingest, stage1 and queries, beside pyarrow, DuckDB and Data-Juicer
peers/       the programs that we measure ourselves against
tools/       generated rows, and work whose memory is measured
"""
