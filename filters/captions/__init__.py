"""The caption rules of stage 2, one concern a file. Each module with `RULES` belongs to stage 2.

letters.py     alphabets and the table of known trigrams
repetition.py  repeated words of captions, counted for all captions at once
*.py           a concern, as its first line says
"""
