"""Conversations as others publish them → examples for stage 3.

dialogue.py   a published entry → who says what, and where each picture stands
template.py   a chat template → the texts around and between messages
encoding.py   a dialogue → token ids, and which of them are learned
example.py    what a training gets of an entry, and why it gets none
"""
