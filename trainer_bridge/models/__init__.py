"""The models. Widths and depths come from the configuration, never from here.

internvit.py    the image tower
contrastive.py  stage 1: image and text towers, one feature space
qllama.py       stage 2: learned queries in stage 1's LLaMA
internvl.py     stage 3: InternViT → MLP → language model, transformers' classes
losses.py       CLIP and token losses
"""
