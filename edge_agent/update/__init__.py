"""The way of a release from a source to running: fetched, verified, tried, kept or rolled back. No source is built in.

Rules: the machine that decides (`machine`) is pure; what fetches, stores and probes stands around it.
"""
