"""Outside formats into events: one file per format, pure, samples in, events out.

A format never drops anything silently: what it cannot place is a field, a flag or a refusal.
"""
