"""What a model does on pictures that it was not trained on: figures by name, computed by all ranks on their devices.

evaluator.py       what computes the figures of a model, by kind
pair_evaluator.py  stages 1 and 2: retrieval and classification
generative_evaluator.py  stage 2: loss on captions and matching, too
captioning.py      stage 3: loss on captions, and right nouns in descriptions
answering.py       stage 3: answers to questions about pictures
questions.py       questions and answers of benchmarks, in JSON lines
question_figures.py  how right the answers to them are
answers.py         exact, relaxed, ANLS, CIDEr, yes or no, boxes
cider.py           CIDEr-D
mono_captions.py   Mono-InternVL: loss on captions
retrieval.py       does a caption find its picture, and a picture one of its captions?
classification.py  does a picture find the name of its class?
ranking.py         how many candidates are nearer than the right one, by blocks
classes.py         names of classes in several languages, and the sentences they are put into
templates.toml     sentences of our own for that
pictures.py        pictures decoded ahead, resized as the released evaluation does
shares.py          which part of the work is a rank's, and how results are gathered
evaluation_set.py  pictures, their texts and their classes
shards.py          those of indexed shards
layouts/           those of folders as others publish them
settings.py        `[[evaluation]]` in an experiment
plan.py            the evaluations of an experiment, during training and at its end
"""
