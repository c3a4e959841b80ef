"""Samples → batches a model takes.

loader.py          positions → samples → batches, with exact resume
transforms.py      encoded images → pixels
tokenizer.py       captions → token ids, stages 1 and 2
conversations.py   captions → questions and answers
noun_phrases.py    the noun phrase in a caption
chat_tokenizer.py  conversations → token ids and labels, stage 3
"""
