"""What the paper keeps: InternVL (arXiv 2312.14238), Table 2, by the names that it gives its sources."""

from __future__ import annotations

from typing import NamedTuple


class Retention(NamedTuple):
    """A row of the table: what a source held, and the shares of it that are left after stage 1 and after stage 2."""

    language: str
    original: str
    stage1: float
    stage2: float

    @property
    def stage2_of_stage1(self) -> float | None:
        """The share that stage 2 leaves of what stage 1 keeps; None where it leaves all."""
        return self.stage2 / self.stage1 if self.stage2 < self.stage1 else None


TABLE_2 = {
    "LAION-en": Retention("English", "2.3 B", 0.843, 0.040),
    "LAION-COCO": Retention("English", "663 M", 0.830, 0.830),
    "COYO": Retention("English", "747 M", 0.716, 0.268),
    "CC12M": Retention("English", "12.4 M", 0.895, 0.895),
    "CC3M": Retention("English", "3.0 M", 0.867, 0.867),
    "SBU": Retention("English", "1.0 M", 1.0, 1.0),
    "Wukong": Retention("Chinese", "100 M", 0.694, 0.694),
    "LAION-multi": Retention("> 100 languages", "2.2 B", 0.850, 0.045),
}
TOTAL = Retention("", "6.03 B", 0.826, 0.170)
