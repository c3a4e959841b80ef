"""Recipes to start from: copy one, or name it, as in `--recipe internvl`.

internvl.toml  what InternVL's Table 2 says of each source
strict.toml    fewer and cleaner pairs than the defaults keep
internvl-sft.toml  the instruction data of stage 3, for `pairmill instructions`
"""

from pathlib import Path

FOLDER = Path(__file__).parent
