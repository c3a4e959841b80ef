"""Pixels and text to scores. Models are passed in loaded; nothing here reads files.

*.py  a model or a score, as its first line says
"""
