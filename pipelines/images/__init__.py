"""Images: what fetching, scoring, captioning and dedup share.

identify.py     bytes → what image they begin as, by content
jpeg_header.py  the size of a plain JPEG, read from its header
decode.py       8-bit RGB, upright, over white
resize.py       RGB at another size, by _resize.c where that is compiled
prepare.py      decode, resize, hash and encode: what fetch stores
chunks.py       stored images read and decoded ahead of a model, in chunks that are committed one by one
settings.py     limits and the stored form
"""
