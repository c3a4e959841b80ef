"""Kept samples → WebDataset shards.

run.py       plans of parts → their rows sorted → shards → where each sample went
plan.py      which samples of a part are exported, with which caption and split, in which order
grouping.py  captions of a picture brought into one sample
where.py     the SQL condition on them
sizes.py     how many shards, and which ranks each takes
claim.py     whose folder it is: nothing is overwritten that the export did not write
reading.py   many pictures read at a time
pictures.py  the bytes of a picture, of one type
shards.py    shards written
places.py    where each sample went, scattered back to its part
conversation_sets.py    published conversations → shards, and a meta file to train on
conversation_shards.py  one of these shards
shares.py    how often each set comes, by the shares of their kinds
products.py  what training stages of Mono-InternVL take
card.py      the data card of such an export
estimate.py  what an export would take
settings.py  sizes, splits, weights and captions
"""
