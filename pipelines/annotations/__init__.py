"""Boxes and texts that others annotated → conversations about pictures, for Mono-InternVL's alignment and for stage 3.

boxes.py    corners in pixels → 0 … 1000 of the original picture; which are none
phrases.py  the published forms of detection, grounding and OCR
reading.py  files of JSON lines, and where pictures lie
coco.py     COCO's and Objects365's JSON
ocr.py      lines of text with boxes, in reading order
grounded.py phrases with boxes
llava.py    LLaVA's conversations, whose boxes are 0 … 1
answered.py questions with answers, captions and regions, in LLaVA-1.5's words
mix.py      which sets a mix has, from which files
overlap.py  pictures that evaluation sets show
page.py     boxes drawn on pictures, to be looked at
"""
