"""What `calibrate` knows: the samples of each stage, the shares to keep, what a person reads, the recipe it writes.

stages.py       what the two stages differ in
samples.py      the samples of a source, or a share of them
targets.py      the share of each source to keep
fitting.py      one source fitted
comparing.py    two recipes on one source
show.py         fits and changes as text
recipe_file.py  the recipe with fitted thresholds
"""
