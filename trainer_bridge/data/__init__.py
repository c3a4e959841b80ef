"""Samples → batches a model takes.

settings.py        how samples are read and decoded ahead
loader.py          positions → samples → batches, with exact resume
ahead.py           reading ahead, and memory that is used again
draws.py           random generators of samples
batch.py           a batch, and its way to the device
fault_limit.py     samples that cannot be trained on, counted
stream.py          the loader as a torch dataset, for trainers of one's own
transforms.py      encoded images → pixels
tokenizer.py       captions → token ids, stages 1 and 2
conversations.py   captions → questions and answers
noun_phrases.py    the noun phrase in a caption
chat_tokenizer.py  conversations → token ids and labels, stage 3
mono_tokenizer.py  InternVL's nine tokens in any tokenizer
instructions/      conversations as others publish them → examples for stage 3
packing.py         which conversations share a sequence, and on which rank
sequences.py       encoded conversations → padded or packed sequences
"""
