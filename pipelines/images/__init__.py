"""Images: what fetching, scoring, captioning and dedup share.

settings.py     limits, and the form in which images are stored
identify.py     bytes → format and size, by content
jpeg_header.py  bytes of a plain JPEG → its size and colour profile
containers.py   what a body is that cannot be decoded: cut off, damaged, of another format, or no image
text_run.py     whether bytes hold a run of text
eighth.py       a plain JPEG at an eighth of its size
decode.py       an identified image → 8-bit sRGB pixels
square.py       pixels → the square that a model looks at
small.py        pixels → the small square by which changed copies are compared
pdq.py          pixels → PDQ, a 256-bit hash of a picture's looks
thumbnails.py   encoded bytes → a small picture as part of a page
prepare.py      an identified image → what fetch stores: resized, hashed, encoded
"""
