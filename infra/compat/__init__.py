"""The lowest layer: what every room may import.

errors.py                 the error of a wrong request, and the nearest known name
settings.py               settings files validated by pydantic
torchvision_operators.py  operators that torchvision lacks beside a CPU build of torch
torchrun.py               the trainer under torchrun
"""
