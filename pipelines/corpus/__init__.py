"""What is asked of the whole corpus; only hashes are shuffled, never rows or pictures.

duplicates.py       samples that repeat another, and pictures of evaluation sets
caption_counts.py   on how many pictures each caption stands
evaluation_sets.py  evaluation sets as hashes
settings.py         what counts as a copy
"""
