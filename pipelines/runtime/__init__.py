"""What a job runs on.

score_models.py   thresholds that name the model whose scores they are for
step.py           a step over parts: pending parts, columns written, receipts
runner.py         items of work on Ray Data: tasks or actors, retries; starts Ray
ray_start.py      Ray without its log lines, and without the working folder on its workers' path
shuffle.py        hash shuffle: keys are searched range by range, results are scattered back to their parts
external_sort.py  rows of many files sorted into files of ranges of a key, with a bounded number of opens
plugins.py        modules of one's own: rules, sources, scores, captioners; on Ray's workers too
picture_chunks.py stored pictures read and decoded ahead of a model, in chunks that are committed one by one
ahead.py          an iterator that works ahead, in a thread
cache.py          results of costly steps, kept per sample
progress.py       progress of long work on stderr
command_line.py   options all jobs share, how counts are printed
exit_status.py    the exit status of a process, and one line for a failure that is no bug
parser.py         an argument parser whose errors are one line
submit.py         jobs submitted to a Ray job server
flow.py           the jobs in order: what each does, what comes next
terminal.py       counts as a table, a closing sentence, untrusted text
"""
