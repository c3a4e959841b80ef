"""Finished shards, ours or others': indexed, checked, cut anew.

tars.py          which tars a URI names
receipts.py      work on shards, done once: what has a receipt is not done again
indexing.py      indexes and a summary for tars that others wrote
verifying.py     what a shard is, beside what its index and summary say
repairing.py     faulty shards written again
pairing.py       what its samples are, beside what the manifest says
plan.py          the order of the samples of new shards, and where each is cut
descriptions.py  where samples lie, sorted by their places in new shards
resharding.py    samples of shards → shards of another size or order
"""
