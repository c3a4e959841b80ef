"""Published files as lines of text: decompressed, and decoded from whatever usual encoding they are in.

Bytes that the encoding does not know come as lone surrogates, as Python's own `surrogateescape` gives them for ASCII's relatives,
so that the reader can reject the row that holds them and no other.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager

from infra.compat.errors import RequestError
from pipelines.sources.compression import head_of, open_bytes
from pipelines.sources.encodings import encoding_of, is_utf7, seven_bit_encoding

HEAD = 1 << 16  # bytes that tell what a file is
ESCAPE = "lone_surrogates"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(ESCAPE, _escape)


def text_head(uri: str) -> tuple[str, bool]:
    """The first characters of the file, and whether there are more; RequestError for an encoding of 7 bits."""
    head = head_of(uri, HEAD)
    text = head.decode(encoding_of(head), "replace")
    whole_lines = text[: text.rfind("\n") + 1] or text
    encoding = seven_bit_encoding(text) or ("UTF-7" if is_utf7(whole_lines) else None)
    if encoding:
        raise RequestError(f"{uri} is written in {encoding}; save it in UTF-8, as `iconv -f {encoding} -t UTF-8` does")
    return text, len(head) >= HEAD


@contextmanager
def open_text(uri: str, newline: str) -> Iterator[io.TextIOWrapper]:
    """The file as text; `newline` as of `io.TextIOWrapper`."""
    encoding = encoding_of(head_of(uri, HEAD))
    with open_bytes(uri) as data, io.TextIOWrapper(data, encoding=encoding, errors=ESCAPE, newline=newline) as text:
        yield text
