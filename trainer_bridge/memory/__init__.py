"""Bytes of tensors, counted or foreseen, and of devices.

activations.py what a step on a micro-batch holds, by a rehearsal on tensors without data
live.py        bytes of live tensors
devices.py     how much memory there is
heap.py        what a process on a CPU holds beside tensors
"""
