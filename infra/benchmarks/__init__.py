"""Benchmarks: `python -m infra.benchmarks NAME` prints one JSON object last: name, machine, figures, ratios."""
