"""What several benchmarks use.

photographs.py     pictures with the entropy of photographs
pictured.py        a manifest of samples with stored pictures
delayed_folder.py  a folder as an object store whose requests are late
object_store.py    a real S3 server, and a proxy before it that delays requests or fails
rows.py            generated rows in the shape of LAION's tables, and families filled with drawn values
copied.py          a manifest of samples some of which repeat others
siblings.py        pictures of a kind that are alike and not the same
memory.py          peak memory and seconds of CPU of this process and of Ray's workers
alone.py           work in a process of its own, so that the memory measured is its own
"""
