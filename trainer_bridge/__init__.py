"""The trainer: streams the mill's shards into DeepSpeed for the alignment stages.

shards → loader (positions → samples, exact resume) → transforms (bytes → tensors) → model → losses → stage → train

train.py       `python -m trainer_bridge.train --stage … --config … --shards URI --out DIR` under torchrun or deepspeed
stages.py      what each stage trains, with which loss
evaluate.py    retrieval recall on the held-out split
"""
