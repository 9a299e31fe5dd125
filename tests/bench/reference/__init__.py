"""Other stream processors on the same input, each as small as it can be: decode, keep the last value of each key, state durable, offsets committed.

They do less than railclear does: no route, no milestone, no ETA, no account of what each record became.
"""
