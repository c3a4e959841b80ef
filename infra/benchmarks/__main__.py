"""`python -m infra.benchmarks NAME [--rows N] [--only PART]`: runs a benchmark, a module of this package with `measure(rows)`."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory and the Python of this machine."""
    import os

    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": memory, "python": platform.python_version()}


def main() -> None:
    """Runs one benchmark and prints its result."""
    parser = argparse.ArgumentParser(prog="infra.benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument(
        "--rows", type=int, default=0, help="how many rows, images or captions; 0: as many as the README's figures"
    )
    parser.add_argument(
        "--only", metavar="PART", help="one part of a benchmark that has several, as dedup's lookups, peer, corpus, growth"
    )
    options = parser.parse_args()
    benchmark = import_module(f"infra.benchmarks.{options.name}")
    parts = getattr(benchmark, "PARTS", {})
    if options.only and options.only not in parts:
        parser.error(f"{options.name} has no part {options.only}; it has {', '.join(parts) or 'none'}")
    measured = (parts[options.only] if options.only else benchmark.measure)(options.rows)
    result = {"name": options.name, "date": datetime.now(UTC).date().isoformat(), "machine": machine(), **measured}
    sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
