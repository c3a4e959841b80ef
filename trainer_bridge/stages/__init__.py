"""The alignment stages. Source: InternVL Table 20.

contrastive.py   1: image and text towers, trained on the CLIP loss
generative.py    2: QLLaMA's queries and cross-attention, trained on ITC + ITM + ITG around the frozen stage 1
chat.py          3: InternViT → MLP → language model, trained on the answers of conversations
"""

from trainer_bridge.stages.chat import ChatStage
from trainer_bridge.stages.contrastive import ContrastiveStage
from trainer_bridge.stages.generative import GenerativeStage
from trainer_bridge.stages.stage import Stage

STAGES: dict[str, type[Stage]] = {"contrastive": ContrastiveStage, "generative": GenerativeStage, "chat": ChatStage}

__all__ = ["STAGES", "Stage"]
