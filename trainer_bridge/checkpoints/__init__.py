"""Models in folders, as they are saved and loaded.

starts.py         stage 1 from other models' towers
model_folders.py  stages 1 and 2: config.json, model.safetensors, tokenizer.json
layouts/          folders of others and ours, read and written
states/           what a training goes on from
adapters.py       adapters in peft's layout
hugging_face.py   stage 3 and pretrained language models, in the Hugging Face layout
mono_internvl.py  Mono-InternVL, as released, and from a language model
checkpoint.py     what a folder holds of a model, in our names
building.py       models built without data, and filled piece by piece
weights.py        tensors renamed, and checked by name and shape
"""
