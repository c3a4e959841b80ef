"""`python -m tests.support.decode_at_once DECODE_MEMORY FILE…` decodes all files at once as `fetch` does, and prints as JSON how
each ended and by how many bytes the process grew at most.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from pipelines.fetching.decoding import Decoder
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import RejectedImage
from tests.support.images import encoded, smooth
from tests.support.mutants import memory_peak


async def decode(decode_memory: int, paths: list[str]) -> dict[str, object]:
    with Decoder(FetchSettings(size=64, decode_memory=decode_memory)) as decoder:

        async def ending(body: bytes) -> str:
            try:
                return (await decoder.decode(body, None)).mime
            except RejectedImage as rejected:
                return rejected.error

        for format in ("WEBP", "PNG", "GIF", "TIFF", "AVIF"):
            await ending(encoded(smooth(64, 64), format))
        before = memory_peak()
        endings = await asyncio.gather(*(ending(Path(path).read_bytes()) for path in paths))
        return {"endings": endings, "grown": memory_peak() - before}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(decode(int(sys.argv[1]), sys.argv[2:]))) + "\n")
