"""The report: numbers asked of the manifest, figures drawn from them, one self-contained page.

numbers.py   SQL → plain values (what report.json holds)
figures.py   values → SVG
examples.py  pictures kept and dropped, as thumbnails
page.py      values and figures → index.html and report.md
"""
