"""The report: numbers of the manifest, figures drawn from them, one self-contained page.

query.py       SQL → rows
numbers.py     the manifest → plain values (what report.json holds)
histograms.py  what stage-1 rules measure → histograms, whatever rules there are
truth.py       what the filters did to samples whose truth is known
training.py    training runs → losses and summaries
examples.py    images kept and dropped, as thumbnails
figures.py     values → SVG
settings.py    the section of the recipe
page.py        values and figures → index.html (by page.html.j2) and report.md
"""
