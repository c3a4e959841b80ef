"""Copies: perceptual hashes of pictures, the search for near ones, and the grouping of what was found.

hashes.py   picture → 64-bit perceptual hash; caption → hash of its words
index.py    pairs of hashes within a Hamming distance; groups of linked samples
"""
