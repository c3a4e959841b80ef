"""Mono-InternVL at a tiny scale: the directions of the paper's tables, over seeds.

corpus.py      sentences of the demo, and pictures of its stamps on pages, with clean and with noisy captions
language.py    a small language model that has read the sentences
runs.py        trainings by the stage `mono`, and what their models do
directions.py  what the paper says, beside what the runs show
speed.py       training steps beside a bare loop
"""
