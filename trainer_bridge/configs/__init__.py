"""Experiments as TOML files, named <stage>-<which>.toml: as published (internvl), of our small models (small), and tiny ones."""
