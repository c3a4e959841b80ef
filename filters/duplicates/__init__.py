"""Copies: hashes under which pictures and captions meet, and the search for near ones.

hashes.py   picture → 64-bit perceptual hash; caption → hash of its words
index.py    pairs of hashes within a Hamming distance; which sample of a set of copies is kept
"""
