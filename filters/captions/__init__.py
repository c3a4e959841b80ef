"""The caption rules of stage 2, one concern a file. Each module with `RULES` belongs to stage 2; `letters.py` is shared code.

length.py        too long to describe one picture, or too short to describe any
completeness.py  file names, numbers, codes, dates, hashtags; captions that break off
readability.py   wrong encodings, escapes, symbols and digits, emoji
gibberish.py     keyboard noise, random strings, hashes
boilerplate.py   menus, error pages, notices, calls to action; repeated text
offensive.py     lexicons of slurs, obscenities and oaths by language
placeholder.py   camera names, stock words, lorem ipsum, unfilled templates
source_code.py   markup, scripts, data, queries, shell, paths, stack traces
letters.py       alphabets and the table of known trigrams
"""
