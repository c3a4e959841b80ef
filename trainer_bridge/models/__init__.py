"""The models. Widths and depths come from the configuration, never from here.

losses.py     sums over ranks, and the token loss
pair_loss.py  CLIP's and SigLIP's losses over all pairs of a global batch
negatives.py  hard negatives, and rows of tensors from the ranks that hold them
draws.py      random numbers of a sample, wherever it is trained
lora.py       low-rank adapters
packed_attention.py  causal attention within the samples of a sequence
sequence_loss.py     the loss on the answers of conversations
blocks.py     blocks compiled, embeddings in bf16
*.py          a model, as its first line says
"""
