"""Questions about the whole corpus. Only hashes are shuffled, never rows or pictures.

duplicates.py           samples that repeat another, and pictures of evaluation sets
caption_counts.py       how many pictures share each caption
evaluation_sets.py      evaluation sets as hashes
evaluation_pictures.py  the pictures of an evaluation set
settings.py             what counts as a copy
"""
