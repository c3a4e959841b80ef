"""Questions about the whole corpus. Only hashes are shuffled, never rows or pictures.

duplicates.py           samples that repeat another, and pictures of evaluation sets
caption_counts.py       how many pictures share each caption
evaluation_sets.py      evaluation sets as files of hashes
evaluation_pictures.py  the pictures of an evaluation set
hash_lists.py           published lists of hashes
evaluation_file.py      the file of an evaluation set
evaluation_search.py    which items of evaluation sets the pictures of a part show
settings.py             what counts as a copy
"""
