"""What caption rules share: repair, characters, words, language, and the search for many patterns at once.

repair/             captions as their authors meant them, before any rule judges them
characters.py       captions as one run of characters, each of a class
words.py            words counted in any script
tokens.py           words, numbers and marks, each with a key
vocabulary.py       what is known of 74 000 words in some thirty languages
function_words.py   the, von, sur …: what tells languages apart and where a phrase can end
language.py         the language of a caption, and how sure that is
language_model.py   what fastText's model of letters says of it
patterns.py         many RE2 patterns over many captions, each tried only where a literal it needs occurs
literals.py         the literals that a pattern cannot match without
one_entry_cache.py  the last result of a function of captions, shared by rules run on the same batch
"""
