"""What is done: transport, runner, intake, ledger, HTTP, alerts, CLI, embedded servers, provisioning.

All input and output lives here. Nobody imports an app: agents export `register(app, ...)`, `agents/app.py` calls them.
"""
