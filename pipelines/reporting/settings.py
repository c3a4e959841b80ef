"""Settings of `report`: the section `[report]` of a recipe."""

from __future__ import annotations

from infra.compat.settings import Location, Section


class ReportSettings(Section):
    """Where the report goes (a folder on this machine), and its title."""

    out: Location = ""
    title: str = "Pairmill report"
