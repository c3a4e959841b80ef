"""Kept samples → WebDataset shards.

plan.py      which samples of a part are exported, with which caption and split, in which order
shards.py    shards written, and where each sample went
settings.py  sizes, splits and captions
"""
