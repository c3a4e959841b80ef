"""The bytes of a picture that an entry names: a file, a member of a tar, on any fsspec URI."""

from __future__ import annotations

from sharding.named_files import NamedFiles, Unreadable
from trainer_bridge.data.instructions.example import SampleFault


class Pictures:
    """Reads pictures by URI; see `NamedFiles`. For several threads."""

    def __init__(self) -> None:
        self.files = NamedFiles()

    def read(self, uri: str) -> bytes:
        """The bytes; SampleFault in one line when there are none."""
        try:
            return self.files.read(uri)
        except Unreadable as error:
            raise SampleFault("missing", str(error)) from None
