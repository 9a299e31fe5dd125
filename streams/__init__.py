"""What it means: network, five folds, status, rules, readiness, explanation, simulation, reference data.

Pure: time, reference bytes and random generators come in as arguments. May import `topics`; never `agents`.
"""
