"""Pixels and text to scores. Models are passed in loaded; nothing here reads files.

clip.py        pictures and captions → embeddings, by an open_clip model
onnx_clip.py   the same, by a CLIP in ONNX
similarity.py  two embeddings → their cosine
aesthetic.py   embedding → aesthetic score
unsafe.py      picture → probability that it is not safe for work
watermark.py   picture → probability of a watermark
"""
