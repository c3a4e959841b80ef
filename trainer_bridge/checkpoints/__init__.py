"""Models in folders, as they are saved and loaded.

model_folders.py  stages 1 and 2: config.json, model.safetensors, tokenizer.json
hugging_face.py   stage 3 and pretrained language models, in the Hugging Face layout
"""
