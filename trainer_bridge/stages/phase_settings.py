"""The settings of phases: `[[phase]]` in an experiment, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from infra.compat.settings import Section
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.settings import Experiment


class PhaseSettings(Section):
    """A stretch of a training with pictures of one size; what is left out is as the experiment says.

    share        of the optimizer steps, and so of the cosine, which runs over all phases
    image_size   side of the pictures; the position embeddings, of model.image.image_size, are resized to it, as InternViT's are
    drop_tokens  share of image tokens left out of the image tower
    batch        global batch in samples
    micro_batch  samples per forward on each rank
    rate         factor of the learning rates
    """

    share: float = Field(gt=0, le=1)
    image_size: int | None = Field(None, ge=1)
    drop_tokens: float | None = Field(None, ge=0, lt=1)
    batch: int | None = Field(None, ge=1)
    micro_batch: int | None = Field(None, ge=1)
    rate: float = Field(1.0, gt=0)


def require_whole(phases: Sequence[PhaseSettings]) -> None:
    """ValueError when the shares of phases do not add up to 1."""
    total = sum(phase.share for phase in phases)
    if phases and not math.isclose(total, 1, abs_tol=1e-6):
        raise ValueError(f"the shares of [[phase]] add up to {total:g}, not to 1")


def phases_of(settings: Sequence[PhaseSettings], experiment: Experiment) -> list[Phase]:
    """The phases with their steps; a share that is less than half a step has none."""
    share, first, start, phases = 0.0, 0, 0, list[Phase]()
    for own in settings:
        share += own.share
        last, batch = round(share * experiment.optimizer.steps), own.batch or experiment.data.batch
        drop_tokens = experiment.data.drop_tokens if own.drop_tokens is None else own.drop_tokens
        micro_batch = own.micro_batch or experiment.run.micro_batch
        phases.append(Phase(first, last, start, batch, micro_batch, own.rate, own.image_size or 0, drop_tokens))
        first, start = last, start + (last - first) * batch
    return phases
