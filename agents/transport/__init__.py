"""Batches from Kafka and effects back to it, so that nothing is lost: the only place that touches Faust's and aiokafka's insides.

`lane`, `batch`, `flow`, `restore`, `origin`, `keeper`, `snapshot`, `census` know Kafka's clients but no Faust; `faust_plugin` and `faust_thread`
plug them into an ordinary Faust app. Hazards, what is done about each and its test: docs/transport.md.
Everything that goes wrong ends the process (`fatal`); what was not acknowledged is read again.
"""
