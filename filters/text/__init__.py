"""What caption rules share: characters, words, language, and the search for many patterns at once.

characters.py       captions as one run of characters, each of a class
words.py            words counted in any script
language.py         the language of a caption
patterns.py         RE2 patterns, each tried only where a literal it needs is found
one_entry_cache.py  the last result of a function of captions
"""
