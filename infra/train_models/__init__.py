"""Trains the small models of the repository again, each with its card: `python -m infra.train_models NAME`.

alignment.py     clip and internvl, which the demo and the tests score, caption and train with
instructions.py  how fast internvl learns an instruction set
language.py      a small language model of captions, for the tiny presets' text tower
seeds.py         the tiny presets with three seeds
quality.py       the network of the caption quality score
quality_card.py  its card
teacher.py       more captions for it, graded by a slow teacher
copies.py        the descriptors by which changed copies of pictures are found
vocabulary.py    the words that it and the identification of languages know
"""
