"""The jobs of the mill: one file here is one job, run as `python -m pipelines.<job>` or `pairmill <job>`.

The flow: sources → ingest → stage1 → fetch → stage1 → dedup → stage2 → export → trainer; every step reads columns of the
manifest and writes columns back, one part (≤ 1 M rows of one source file) at a time. See `pipelines.runtime.runner`.
"""
