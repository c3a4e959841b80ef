"""Recipes to start from: copy one, or name it, as in `--recipe internvl`.

internvl.toml  what InternVL's Table 2 says of each source
strict.toml    fewer and cleaner pairs than the defaults keep
instructions/  mixes of instruction data, for `pairmill instructions`; internvl-sft.toml is that of InternVL's Table 3
"""

from pathlib import Path

FOLDER = Path(__file__).parent
INSTRUCTIONS = FOLDER / "instructions"
