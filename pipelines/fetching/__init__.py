"""Downloads images: a plan of requests, an HTTP client bound by a policy, and chunks that are committed one by one.

settings.py            the section `[fetch]` of a recipe
errors.py              the closed list of error classes, which of them are refusals, which are retried
plan.py                a part's samples → the distinct URLs to request
policy.py              which URLs and addresses may be requested: ports, public addresses, blocklists, opt-out headers
robots.py              robots.txt of each origin, cached
client.py              one URL → bytes or an error class: timeouts, redirects, connections to public addresses only
event_loop.py          whose timeouts count only the time in which it listened
urls.py                published URLs as they are requested
frontier.py            which URL is requested next: limits per host, retries, a circuit breaker per host
decoding.py            decodes downloaded images without delaying the requests
isolated.py            the same in a child process, where a decoder crashed before
chunks.py              up to 10 000 URLs → one tar and one table
part.py                a part in chunks, merged with its cached results
img2dataset.py         the engine img2dataset, as a process of its own
img2dataset_output.py  images that img2dataset has already downloaded
img2dataset_images.py  where they lie: in a tar or as files
listed_pictures.py     pictures without text, of folders and tars: what is there, and each as it lies
"""
