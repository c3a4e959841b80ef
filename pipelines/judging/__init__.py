"""The two filters over the parts of a manifest.

verdicts.py  which columns the rules of a filter read; how verdicts are counted
captions.py  the caption rules over one part
"""
