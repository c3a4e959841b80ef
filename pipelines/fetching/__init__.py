"""Asking the web for pictures.

policy.py    who may be asked, and who said no
client.py    asking: timeouts, redirects, retries; every URL ends as bytes or as a class of the closed list of errors
decoding.py  when a picture is decoded: between requests, or beside them
chunks.py    a part's URLs in chunks that are committed one by one
"""
