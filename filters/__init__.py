"""Judgement: Arrow or NumPy in, columns out. No Ray, no files, no network.

rules.py      what a rule is, and how a set of rules is evaluated
stage1.py     the six factors of the first filter
stage2.py     the caption rules, one concern a file under captions/
duplicates/   perceptual hashes and the search for near ones
"""
