"""Conversations as others publish them → examples for stage 3.

Which sets there are, where their entries lie, and named files: `sharding`.

entries.py    the entries of a set by row, in a file or in shards
dialogue.py   a published entry → who says what, and where each picture stands
pictures.py   the bytes of a picture that an entry names
tiles.py      a picture → tiles of one size, by dynamic resolution
template.py   a chat template → the texts around and between messages
encoding.py   a dialogue → token ids, and which of them are learned
example.py    what a training gets of an entry, and why it gets none
source.py     the entries of all sets by position, with exact resume
checking.py   what a training would get of the entries of a set, counted
loader.py     examples → batches of one rank, loaded ahead
"""
