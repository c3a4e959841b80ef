"""The models. Widths and depths come from the configuration, never from here.

losses.py  CLIP and token losses
blocks.py  blocks compiled, embeddings in bf16
*.py       a model, as its first line says
"""
