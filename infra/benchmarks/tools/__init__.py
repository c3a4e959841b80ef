"""What several benchmarks use.

photographs.py     pictures with the entropy of photographs
delayed_folder.py  a folder as an object store whose requests are late
rows.py            generated rows in the shape of LAION's tables, and families filled with drawn values
memory.py          peak memory of this process and of Ray's workers
alone.py           work in a process of its own, so that the memory measured is its own
"""
