"""The network as functions of the reference: sides of a route, positions on it, arrival times, working hours, deadlines.

Pure: `sides` what is passed and under which row · `route`, `match`, `positions` where a train is · `eta` when it gets there ·
`calendar` when a post works · `deadlines` until when a filing is in time. May import `streams.reference`, `streams.status` and `topics`.
"""
