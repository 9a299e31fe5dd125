"""Every event that crosses a topic: one file per writing party, plus what folds tell each other and what railclear says.

Frozen structs; evolution by new fields with defaults only, nothing retyped or renamed.
"""
