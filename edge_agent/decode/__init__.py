"""Payload bytes to readings: one file per format, a literal table of them (`table`), and the router in front (`router`).

Rules: nothing but DecodeError leaves a decoder, whatever the payload; the work is bounded by the payload's length; the
same payload and time of arrival give the same readings; what is read in part is counted in `Ledger`. docs/formats/decoders.md
describes each format in words, with vectors.
"""
