"""Benchmarks: `python -m infra.benchmarks NAME` prints one JSON object last: name, machine, figures, ratios.

captions.py  caption rules, beside Data-Juicer
dedup.py     lookups of hashes within a distance, beside faiss's binary indexes; copies within a corpus
demo.py      the demo as a person runs it
export.py    exporting, beside webdataset; growth with parts and shards; an S3 server with latency
fetch.py     downloading, beside img2dataset
gpu.py       training steps, scoring and captioning on one GPU, beside open_clip
loader.py    loading shards, beside webdataset, Streaming, LitData and Energon
manifest.py  ingest, stage1 and queries, beside pyarrow, DuckDB and Data-Juicer
tiles.py     pictures into tiles, beside Pillow
score.py     scoring pictures, beside the bare forward passes; an S3 server with latency
trainer.py   training stage 1 on the CPU, beside open_clip's command and a bare step
mono.py      Mono-InternVL: the routed FFN beside a dense one, the trainer beside a bare loop, the paper's directions
packing.py   training steps of stage 3, conversations packed beside padded
on_gpu/      the sections of gpu.py
mono_training/  the trainings of mono.py
recall.py    evaluation pictures found again after what the web does to pictures
peers/       the programs that we measure ourselves against
tools/       generated rows, and work whose memory is measured
"""
