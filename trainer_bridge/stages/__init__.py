"""The alignment stages. A module here that defines a Stage is one, named after the module. Source: InternVL Table 20.

stage.py          what a stage is, and what several share
settings.py       the settings of every experiment
phase_settings.py    the settings of phases
parameter_groups.py  learning rate and weight decay of each parameter
captioned.py      a batch of captioned pictures as conversations
chat_settings.py  the settings of stage 3
chat_start.py     what stage 3 starts from
conversation_stage.py  what stages have in common that learn from conversations
mono_settings.py  the settings of Mono-InternVL's stages
mono_start.py     what they start from
feature_cache.py  the loss of a batch of which a forward pass holds only a part
*.py              a stage, as its first line says
"""

import pkgutil
from importlib import import_module
from inspect import isabstract

from trainer_bridge.stages.stage import Stage

__all__ = ["Stage", "find_stages"]


def find_stages() -> dict[str, type[Stage]]:
    """The stages that modules of this package define, by module name."""
    stages: dict[str, type[Stage]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            is_stage = isinstance(value, type) and issubclass(value, Stage) and not isabstract(value)
            if is_stage and value.__module__ == module.__name__:
                stages[info.name] = value
    return stages
