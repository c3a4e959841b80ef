"""Scoring a part's pictures.

models.py   checkpoints by path or URI → loaded models, with their provenance; never a pickle
chunks.py   pictures of a chunk, decoded ahead of the models → scores
"""
