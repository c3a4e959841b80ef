"""WebDataset tars: written byte-reproducibly, indexed, checksummed, read at random or in a deterministic order.

    writer.py   samples → a tar whose bytes depend on the samples alone
    index.py    where each sample lies in its tar; the dataset's summary with checksums
    reader.py   samples of a tar by position, on any fsspec URI
    order.py    which sample comes at which position of which epoch
    verify.py   does what lies there match what was written

A sample is a key and a dict of endings to bytes, as in WebDataset.
"""
