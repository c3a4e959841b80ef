"""What the benchmark `gpu` measures, with the sizes that a GPU gets and the tiny ones for a CPU.

workload.py        sizes, experiments, generated shards
bench.py           the workload on a device, clocks, memory
training.py        steps of the three stages in the trainer's loop, and a bare one
open_clip_loop.py  the peer
inference.py       rates of scoring and captioning
"""
