"""WebDataset shards: written byte-reproducibly, indexed, checksummed, read at random or in a deterministic order.

layout.py         what the files of a dataset are called
sample.py         a sample and its members
tar.py            members → a tar whose bytes depend on them alone
writer.py         samples → a shard: tar, index rows and checksum in one pass
index.py          the index of a shard; the dataset's summary with checksums
tar_headers.py    where the files of any tar lie, from its headers
foreign.py        which files of a tar that others wrote are a sample
range_columns.py  byte ranges as columns
ranges.py         byte ranges of files, many at once, retried
signed_gets.py    ranges of an object store by plain GETs of signed URLs
named_files.py    the bytes of files that others name: paths, URIs, members of tars
pread.py          ranges of local files, many in one call
columns.py        samples as columns
reader.py         samples by (shard, row), on any fsspec URI
order.py          which sample comes at which position of which epoch
mixture.py        which of several weighted datasets comes at which position
sequence.py       samples of one or several datasets by position
lines.py          where each entry of a file of JSON lies
conversation_sets.py  which sets of conversations a meta file names
named_pictures.py the pictures that a conversation names
checks.py         what is wrong with a shard and its samples
decode.py         the bytes of a picture → upright 8-bit sRGB, the same for everything that looks at pictures
resize.py         pixels → pixels of another size, by _resize.c where that is compiled
plain_jpeg.py     which JPEGs are nothing but a picture
coded_size.py     whether a picture is as large as its file says
avif_sizes.py     the sizes of an AVIF, by its container and by its coded picture

Write with `write_shard` and `summary_bytes`; read with `read_dataset`, `ShardReader` and `Order`.
"""

from sharding.checks import faults
from sharding.columns import ReadError
from sharding.index import Dataset, Shard, read_dataset, summary_bytes
from sharding.order import Order
from sharding.reader import ShardReader
from sharding.sample import Sample, sample_json
from sharding.sequence import SampleSequence
from sharding.writer import ShardWriter, write_shard

__all__ = [
    "Dataset",
    "Order",
    "ReadError",
    "Sample",
    "SampleSequence",
    "Shard",
    "ShardReader",
    "ShardWriter",
    "faults",
    "read_dataset",
    "sample_json",
    "summary_bytes",
    "write_shard",
]
