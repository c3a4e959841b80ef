"""Kept samples → WebDataset shards.

plan.py      which samples of a part are exported, with which caption and split, in which order
claim.py     whose folder it is: nothing is overwritten that the export did not write
pictures.py  the bytes of a picture, checked and of one type
shards.py    shards written, and where each sample went
settings.py  sizes, splits and captions
"""
