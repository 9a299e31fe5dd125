"""Batches from Kafka and effects back to it, so that nothing is lost: the only place that touches Faust's and aiokafka's insides.

`lane`, `batch`, `flow`, `restore`, `publish` know aiokafka but no Faust; `faust_plugin` plugs them into an ordinary Faust app.
Everything that goes wrong ends the process (`fatal`); what was not acknowledged is read again.
"""
