"""What caption rules share: characters, words, language, and the search for many patterns at once.

characters.py       captions as one run of characters, each of a class
words.py            words counted in any script
language.py         the language of a caption
patterns.py         many RE2 patterns over many captions, each tried only where a literal it needs occurs
literals.py         the literals that a pattern cannot match without
one_entry_cache.py  the last result of a function of captions, shared by rules run on the same batch
"""
