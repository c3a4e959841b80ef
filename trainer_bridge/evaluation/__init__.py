"""What a saved model does on a split of the shards.

retrieval.py   stages 1 and 2: does a caption find its picture?
captioning.py  stage 3: loss on captions, and right nouns in descriptions
"""
