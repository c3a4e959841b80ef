"""The demo's web: real pictures with real sentences, planted defects whose truth is kept, and a loopback server.

corpus.py    pictures and their sentences: Debian packages, or any folder
render.py    PNG, SVG and emoji to JPEG, PNG and WebP of web-like sizes
junk.py      captions that are none: boilerplate, placeholders, code, gibberish
plan.py      which rows are published where, and which are planted defects
publish.py   metadata in the published schemas, and truth.parquet
build.py     builds the web in a folder, once
training.py  the alignment stages on the demo's shards
results.py   what was caught, as a table
lessons.py   the sound pairs as shards, for training the small models
mono.py      Mono-InternVL's stages: exports, experiments, its language model
instructions.py  an instruction set as LLaVA publishes them
transformations.py  what happens to pictures on their way through the web
trigrams.py  which three letters follow each other in words
server.py    serves it all on 127.0.0.1, and misbehaves where a defect says so
"""
