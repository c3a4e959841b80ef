"""Sets of several kinds by their shares of an epoch, as Mono-InternVL's alignment has captions, boxes and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from infra.compat.errors import RequestError, nearest
from sharding.conversation_sets import ConversationSet

NEARLY = 1e-3  # how far from 1 shares may sum to: published ones are rounded


def require_whole(shares: Mapping[str, float]) -> None:
    """RequestError where shares are not those of a whole."""
    total = sum(shares.values())
    if abs(total - 1) > NEARLY:
        raise RequestError(f"export.shares sum to {total:g}, not to 1: {_listed(shares)}; leave out a kind that has none")


def require_kinds(sets: Iterable[ConversationSet], shares: Mapping[str, float], uri: str) -> None:
    """RequestError where a set is of a kind without a share, or a kind with a share has no set."""
    kinds = set()
    for each in sets:
        if each.kind not in shares:
            told = f"is of kind {each.kind!r}, which has no share" if each.kind else "does not say its kind"
            raise RequestError(f'set {each.name!r} of {uri} {told}; write "kind" there: {nearest(each.kind, shares)}')
        kinds.add(each.kind)
    missing = [kind for kind in shares if kind not in kinds]
    if missing:
        raise RequestError(
            f"no set of {uri} is of kind {missing[0]!r}, whose share is {shares[missing[0]]:g}; name one, or give export.shares "
            "without it"
        )


def factors(kinds: Mapping[str, str], drawn: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """Set → by what to multiply how often it comes, so that kinds have their shares; RequestError where one has nothing.

    kinds  set → its kind
    drawn  set → conversations that an epoch has of it without shares

    The kind of which there is least for its share stays as it is, all others come less.
    """
    found = Counter[str]()
    for name, kind in kinds.items():
        found[kind] += drawn[name]
    if empty := [kind for kind in shares if not found[kind]]:
        raise RequestError(f"there is no conversation of kind {empty[0]!r}, whose share is {shares[empty[0]]:g}; check its sets")
    whole = min(found[kind] / share for kind, share in shares.items())
    return {name: round(whole * shares[kind] / found[kind], 12) for name, kind in kinds.items()}


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {share:g}" for kind, share in shares.items())
