"""The lowest layer: what every room may import.

children.py                the processes that we start: their environment, and that they end with us
content.py                digest of what decides: functions with all that they read, values, files
cpu_products.py           matrix products of torch on CPUs, by the faster of its two libraries
errors.py                 the error of a wrong request, and the nearest known name
failures.py               one line for each failure of files, networks and object stores
files.py                  files by URI, in whose names `::` may stand
memory.py                 what malloc does with freed memory
paths.py                  local paths that mean the same in every process, and the cache folder
settings.py               settings files validated by pydantic
source_tree.py            the source of a function or class, normalised
torchvision_operators.py  operators that torchvision lacks beside a CPU build of torch
"""
