"""The caption rules of stage 2, one concern a file. Each module with `RULES` belongs to stage 2.

letters.py  alphabets and the table of known trigrams
*.py        a concern, as its first line says
"""
