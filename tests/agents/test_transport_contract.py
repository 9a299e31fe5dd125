"""Each private name of Faust and aiokafka that the transport touches, on the pinned versions. A failing test names what an upgrade broke."""
from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.structs import TopicPartition
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode.threads import QueueServiceThread

from agents.transport import faust_app, faust_plugin


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_versions_are_those_that_were_read_and_measured() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


@pytest.mark.parametrize(
    ("owner", "name", "wanted"),
    [
        (driver.Consumer, "_new_consumer_thread", ["self"]),
        (faust_consumer.Consumer, "getmany", ["self", "timeout"]),
        (faust_consumer.Consumer, "perform_seek", ["self"]),
        (faust_consumer.Consumer, "_add_gap", ["self", "tp", "offset_from", "offset_to"]),
        (faust_consumer.Consumer, "ack", ["self", "message"]),
        (faust_consumer.Consumer, "commit", ["self", "topics", "start_new_transaction"]),
        (faust_consumer.ThreadDelegateConsumer, "_commit", ["self", "offsets"]),
        (faust_consumer.Consumer, "on_task_error", ["self", "exc"]),
        (faust_consumer.Consumer, "on_partitions_assigned", ["self", "assigned", "generation_id"]),
        (faust_consumer.Consumer, "on_partitions_revoked", ["self", "revoked"]),
        (driver.Consumer, "on_stop", ["self"]),
        (driver.AIOKafkaConsumerThread, "on_start", ["self"]),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
        (driver.AIOKafkaConsumerThread, "_fetch_records", ["self", "consumer", "active_partitions", "timeout", "max_records"]),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
        (QueueServiceThread, "call_thread", ["self", "fun", "args", "kwargs"]),
        (driver.Producer, "_settings_default", ["self"]),
        (driver.Producer, "_settings_auth", ["self"]),
        (driver.Producer, "_settings_extra", ["self"]),
        (group_coordinator.GroupCoordinator, "_do_heartbeat", ["self"]),
        (subscription_state.Assignment, "state_value", ["self", "tp"]),
        (AIOKafkaClient, "_wait_on_metadata", ["self", "topic"]),
        (AIOKafkaProducer, "create_batch", ["self"]),
        (AIOKafkaProducer, "send_batch", ["self", "batch", "topic", "partition"]),
        (AIOKafkaProducer, "send_offsets_to_transaction", ["self", "offsets", "group_id"]),
    ],
)
def test_a_method_that_is_overridden_or_called_has_the_signature_it_had(owner: type, name: str, wanted: list[str]) -> None:
    assert parameters(getattr(owner, name)) == wanted


async def test_the_consumer_has_the_private_attributes_that_are_read_or_set() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id=None)
    assert hasattr(consumer, "_fetch_max_wait_ms")
    assert hasattr(consumer, "_isolation_level")
    assert hasattr(consumer, "_max_poll_records")
    assert isinstance(consumer._client, AIOKafkaClient)
    consumer.assign([TopicPartition("t", 0)])
    assignment = consumer._subscription.subscription.assignment
    state = assignment.state_value(TopicPartition("t", 0))
    assert (state.has_valid_position, state.highwater) == (False, None)
    consumer.assign([TopicPartition("t", 0)])
    assert consumer._subscription.subscription.assignment is not assignment, "a new assignment is a new object: the seek-back depends on it"
    await consumer.stop()


def test_settings_changed_after_creation_still_reach_the_fetcher() -> None:
    """The consumer hands them to its Fetcher in start(), so changing them between creation and start works."""
    source = inspect.getsource(AIOKafkaConsumer.start)
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in source
    assert "isolation_level=self._isolation_level" in source


def test_an_empty_set_of_partitions_still_means_all_of_them() -> None:
    assert "if partitions and tp not in partitions" in inspect.getsource(fetcher.Fetcher.fetched_records)


def test_assignment_callbacks_still_wait_before_heartbeats_begin() -> None:
    """So restore must stay a background task."""
    source = inspect.getsource(driver.ConsumerRebalanceListener.on_partitions_assigned)
    assert "consumer_generation_id = generation" in source
    assert "await self._thread.on_partitions_assigned" in source


def test_faust_still_calls_what_is_overridden() -> None:
    drain = inspect.getsource(faust_consumer.Consumer._drain_messages)
    assert "getmany = self.getmany" in drain
    assert "offset >= r_offset" in drain
    assert "self.commit()" in inspect.getsource(faust_consumer.Consumer._commit_handler.fun)


def test_a_batch_travels_as_the_value_of_one_message() -> None:
    make: Any = ConsumerMessage
    message = make("t", 0, 9, 1.5, 1, None, None, ["records"], None, 0, 0, ("t", 0), generation_id=3)
    assert (message.value, message.offset, message.generation_id, message.tp) == (["records"], 9, 3, ("t", 0))


def test_the_first_record_of_a_batch_is_always_taken_whatever_its_size() -> None:
    from aiokafka.producer.message_accumulator import BatchBuilder

    batch = BatchBuilder(1000, 0)
    assert batch.append(key=b"k", value=b"x" * 5000, timestamp=None) is not None
    assert batch.append(key=b"k", value=b"x", timestamp=None) is None


def test_the_app_uses_the_plug_in_and_its_settings_are_taken() -> None:
    assert TRANSPORTS.by_name(faust_plugin.SCHEME) is faust_plugin.Transport
    app: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="h1:9092,h2:9093"))
    assert isinstance(app, faust.App)
    assert type(app.transport) is faust_plugin.Transport
    assert [f"{u.host}:{u.port}" for u in app.transport.url] == ["h1:9092", "h2:9093"]
    assert (app.conf.id, app.conf.web_enabled, app.conf.topic_allow_declare, app.conf.topic_disable_leader) == ("g", False, False, True)
    assert app.conf.broker_request_timeout >= app.conf.broker_session_timeout
    assert app.conf.stream_wait_empty is False
    producer: Any = app.producer
    assert producer._settings_extra() == {"acks": "all", "enable_idempotence": True}
    assert isinstance(app.consumer, faust_plugin.Consumer)
    assert isinstance(app.consumer._thread, faust_plugin.Thread)
