"""Questions about the whole corpus. Only hashes are shuffled, never rows or pictures.

duplicates.py           samples that repeat another, and pictures of evaluation sets
copy_keys.py            what samples are compared by
copies.py               which samples repeat another: the same file, looks, pair or address
near_copies.py          pictures of the whole corpus that look the same
semantic_copies.py      pictures of the whole corpus that show the same thing, by their embeddings
sorting.py              the sorts by which copies are brought together
ranks.py                which of two copies stays
caption_counts.py       how many pictures share each caption
evaluation_sets.py      evaluation sets as files of hashes
evaluation_pictures.py  the pictures of an evaluation set
evaluation_hashing.py   these as hashes and tiny pictures
variants.py             changed copies of evaluation pictures that are indexed too
hash_lists.py           published lists of hashes
evaluation_file.py      the file of an evaluation set
evaluation_embeddings.py  which items they show by their embeddings, where no hash says so
evaluation_agreement.py  which items they show, changed too much for a hash: laid over each other
evaluation_search.py    which items of evaluation sets the pictures of a part show
evaluation_looks.py     which of these agree when the pictures are looked at again
stored_pictures.py      pictures of samples, read again
doubtful_pairs.py       the pairs nearest to a threshold, on either side
doubtful_items.py       those of samples and evaluation sets
doubt.py                what such a pair is, and where it is searched
review.py               the page that shows them
settings.py             what counts as a copy
"""
