"""Copies: hashes under which pictures and captions meet, and the search for near ones.

pdq.py      picture → PDQ, a 256-bit perceptual hash, by _pdq.c where that is compiled
hashes.py   picture → 64-bit perceptual hash; caption → hash of its words
hamming.py  all hashes within a Hamming distance of a query, among millions, by _hamming.c where that is compiled
blocks.py   near hashes of a whole corpus: keys for a shuffle that misses no pair
descriptors.py  pictures as vectors that changed copies share, for finding candidates
alignment.py    two pictures laid over each other
agreement.py    how much of one is then in the other
semantic.py clusters of embeddings, and copies within a cluster
index.py    pairs of hashes within a Hamming distance; which sample of a set of copies is kept
"""
