"""Pixels (and text) to a number. Models come loaded; nothing here knows of files or of where pictures come from.

clip.py        picture and caption → cosine similarity, and the picture's embedding
aesthetic.py   embedding → aesthetic score
unsafe.py      picture → probability that it is not safe for work
watermark.py   picture → probability of a watermark
"""
