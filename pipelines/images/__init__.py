"""Images: what fetching, scoring, captioning and dedup share.

settings.py     limits, and the form in which images are stored
identify.py     bytes → format and size, by content
jpeg_header.py  bytes of a plain JPEG → its size
decode.py       an identified image → 8-bit RGB pixels
resize.py       pixels → pixels of another size, by _resize.c where that is compiled
prepare.py      an identified image → what fetch stores: resized, hashed, encoded
"""
