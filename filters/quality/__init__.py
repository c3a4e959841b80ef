"""How much a caption says of its picture: a score in 0 … 1 by a small model, with the parts it is made of.

describe.py     what each token is, and what is counted in a caption
features.py     a caption as rows of tokens and a few statistics
network.py      the model: five small networks, whose outputs are added
score.py        captions → quality and its parts
*.safetensors   the model's weights, of `python -m infra.train_models quality`; its card is infra/models/quality/README.md

What is known of single words is in filters/text/vocabulary.py.
"""
