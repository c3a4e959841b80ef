"""Saved states of a training: on any fsspec file system, and for any number of ranks and any ZeRO stage. No pickles.

state.py        what a state holds, saved and restored by all ranks together
folder.py       states in a folder: which is the newest that is whole, and which are removed
share.py        the run of a parameter's numbers that a rank holds
tensor_file.py  safetensors, written tensor by tensor and read in ranges
from_rank_0.py  what rank 0 reads, on every rank
"""
