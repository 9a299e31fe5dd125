"""What is said: identifiers, events, outside formats, the codec and the topic registry.

Frozen data only. Nothing here reads a clock, a file, the environment or randomness; nothing imports `streams` or `agents`.
"""
