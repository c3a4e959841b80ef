"""The ways to reach an InternVL model.

internvl.py   a checkpoint folder in the Hugging Face layout → a captioner, with what it was made from
chunks.py     a chunk of pictures → captions
"""
