"""Each private name of Faust and aiokafka that agents touch, and what they call that no documentation promises, on the pinned versions. A failing test names
what an upgrade broke. That no other private name is touched anywhere is asked by `test_private_names_contract.py`."""
from __future__ import annotations

import inspect
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.conn import collect_hosts
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.errors import for_code
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.protocol import transaction
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode import Service
from mode.threads import QueueServiceThread, ServiceThread

from agents.transport import faust_app, faust_plugin, faust_thread, light
from agents.transport.claim import CLIENT_SETTINGS, Fence, fenced, fencing
from streams.effects import LogRecord


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
        (group_coordinator.GroupCoordinator, "_do_commit_offsets", ["self", "assignment", "offsets"]),
        (group_coordinator.GroupCoordinator, "_push_error_to_user", ["self", "exc"]),
        (group_coordinator.GroupCoordinator, "_send_req", ["self", "request"]),
        (ServiceThread, "crash", ["self", "exc"]),
        (group_coordinator.GroupCoordinator, "fetch_committed_offsets", ["self", "partitions"]),
        (LeaveGroupRequest, "__init__", ["self", "group", "member_id"]),
        (subscription_state.Assignment, "state_value", ["self", "tp"]),
        (fetcher.Fetcher, "seek_to", ["self", "tp", "offset"]),
        (AIOKafkaClient, "bootstrap", ["self"]),
        (AIOKafkaClient, "ready", ["self", "node_id", "group"]),
        (AIOKafkaClient, "send", ["self", "node_id", "request", "group"]),
        (AIOKafkaClient, "coordinator_lookup", ["self", "coordinator_type", "coordinator_key"]),
        (AIOKafkaClient, "close", ["self"]),
        (transaction.InitProducerIdRequest, "__init__", ["self", "transactional_id", "transaction_timeout_ms"]),
        (transaction.AddPartitionsToTxnRequest, "__init__", ["self", "transactional_id", "producer_id", "producer_epoch", "topics"]),
        (transaction.AddOffsetsToTxnRequest, "__init__", ["self", "transactional_id", "producer_id", "producer_epoch", "group_id"]),
        (transaction.EndTxnRequest, "__init__", ["self", "transactional_id", "producer_id", "producer_epoch", "transaction_result"]),
        (AIOKafkaProducer, "create_batch", ["self"]),
        (AIOKafkaProducer, "send_batch", ["self", "batch", "topic", "partition"]),
        (AIOKafkaProducer, "send_offsets_to_transaction", ["self", "offsets", "group_id"]),
    ],
)
def test_a_method_that_is_overridden_or_called_has_the_signature_it_had(owner: type, name: str, wanted: list[str]) -> None:
    assert parameters(getattr(owner, name)) == wanted


def test_a_claims_client_takes_its_settings_and_answers_as_it_is_asked() -> None:
    """`agents/transport/claim.py` speaks to coordinators through calls that no documentation promises."""
    assert {*CLIENT_SETTINGS, "request_timeout_ms"} <= set(parameters(AIOKafkaClient.__init__))
    assert {"COORDINATION"} <= set(ConnectionGroup.__members__)
    assert {"TRANSACTION"} <= set(CoordinationType.__members__)
    assert parameters(for_code) == ["error_code"]
    names = {kind: kind.SCHEMA.names for kind in (transaction.InitProducerIdResponse_v0, transaction.AddPartitionsToTxnResponse_v0,
                                                  transaction.AddOffsetsToTxnResponse_v0, transaction.EndTxnResponse_v0)}
    assert list(names.values()) == [("throttle_time_ms", "error_code", "producer_id", "producer_epoch"), ("throttle_time_ms", "errors"),
                                    ("throttle_time_ms", "error_code"), ("throttle_time_ms", "error_code")]
    asked = transaction.AddPartitionsToTxnRequest("x", 1, 2, [("t", [0, 1])]).build(transaction.AddPartitionsToTxnRequest_v0)
    assert transaction.AddPartitionsToTxnRequest_v0.decode(asked.encode()).topics == [("t", [0, 1])], "topics as pairs of name and partitions"
    answer = transaction.AddPartitionsToTxnResponse_v0(0, [("t", [(0, 0), (1, 51)])])
    decoded = transaction.AddPartitionsToTxnResponse_v0.decode(answer.encode())
    assert [code for _, parts in decoded.errors for _, code in parts] == [0, 51]


def test_hosts_are_read_from_an_address_as_the_commands_do() -> None:
    """`agents/cli/where.py` asks them before a client does."""
    assert parameters(collect_hosts) == ["hosts", "randomize"]
    assert [(host, port) for host, port, _ in collect_hosts("a:1,b:2", randomize=False)] == [("a", 1), ("b", 2)]


async def test_what_tests_put_into_a_producer_is_where_they_put_it() -> None:
    """`test_transport_apart.py` runs a producer's sender against a broker of its own making, `test_transport_rebalance.py` ends a service."""
    producer: Any = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    assert producer._closed is False
    assert producer._sender._sender_task is None
    assert producer._message_accumulator._cluster is producer.client.cluster
    assert "self._sender_task = create_task(self._sender_routine())" in inspect.getsource(Sender.start)
    assert parameters(producer.client._maybe_wait_metadata) == []
    assert ProduceRequest(transactional_id=None, required_acks=-1, timeout=1, topics=[("t", [])])._topics == [("t", [])]
    assert isinstance(Service()._stopped, type(Service()._new_stopped_event()))
    await producer.stop()


async def test_the_consumer_has_the_private_attributes_that_are_read_or_set() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id=None)
    assert hasattr(consumer, "_fetch_max_wait_ms")
    assert hasattr(consumer, "_isolation_level")
    assert hasattr(consumer, "_max_poll_records")
    assert consumer._coordinator is None, "made in start()"
    consumer.assign([TopicPartition("t", 0)])
    assignment = consumer._subscription.subscription.assignment
    state = assignment.state_value(TopicPartition("t", 0))
    assert (state.has_valid_position, state.highwater) == (False, None)
    consumer.assign([TopicPartition("t", 0)])
    assert consumer._subscription.subscription.assignment is not assignment, "a new assignment is a new object: the seek-back depends on it"
    await consumer.stop()


async def test_records_are_made_by_a_method_that_the_object_may_have_of_its_own_and_wait_by_partition() -> None:
    tp, builder = TopicPartition("t", 3), BatchBuilder(1 << 20, 0)
    for n in range(3):
        builder.append(key=b"k", value=b"%d" % n, timestamp=1_700_000_000_000 + n, headers=[("h", b"x")] if n else [])
    data = bytes(builder._build())

    class Asked:
        _records: dict[Any, Any]

        def __init__(self) -> None:
            self._records = {}

        async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
            records = fetcher.PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, True, fetcher.READ_COMMITTED)
            self._records[tp] = fetcher.FetchResult(tp, assignment=None, partition_records=records, backoff=0)
            return True

    asked = Asked()
    light.read_lightly(asked)
    assert await asked._proc_fetch_request(None, 0, None)
    assert isinstance(asked._records[tp]._partition_records, fetcher.PartitionRecords), "where aiokafka keeps what it will hand out"
    read = list(asked._records[tp]._partition_records)
    assert [type(r) for r in read] == [LogRecord] * 3
    plain = list(fetcher.PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, True, fetcher.READ_COMMITTED))
    for one, other in zip(read, plain, strict=True):
        assert all(getattr(one, name) == getattr(other, name) for name in one.__struct_fields__)


def test_the_fetcher_asks_and_keeps_what_it_read_as_the_transport_expects() -> None:
    assert "self._proc_fetch_request(assignment, node_id, request)" in inspect.getsource(fetcher.Fetcher._fetch_requests_routine)
    assert "self._records[tp] = FetchResult(" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert "self._consumer_record(tp, record)" in inspect.getsource(fetcher.PartitionRecords._unpack_records)
    assert "if self._subscriptions.reassignment_in_progress" in inspect.getsource(fetcher.Fetcher.fetched_records)
    assert "type(res_or_error) is FetchResult" in inspect.getsource(fetcher.Fetcher.fetched_records)
    assert "self._fetcher = Fetcher(" in inspect.getsource(AIOKafkaConsumer.start)


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
    assert isinstance(app.consumer._thread, faust_thread.Thread)


async def test_fausts_consumer_thread_and_producer_keep_aiokafkas_where_the_transport_looks() -> None:
    """A rename would end leaving the group without a word: the thread asks for `_consumer` with a default, as it may die before it has one."""
    app: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="h1:9092"))
    thread, producer, theirs = app.consumer._thread, app.producer, object()
    assert thread._consumer is None
    thread._consumer = theirs
    assert thread._ensure_consumer() is theirs
    assert "self._consumer = self._create_consumer(" in inspect.getsource(driver.AIOKafkaConsumerThread.on_start)
    producer._producer = theirs
    assert producer._ensure_producer() is theirs
    assert "self._producer = self._new_producer()" in inspect.getsource(driver.Producer.on_start)
    app.consumer._read_offset[TopicPartition("t", 0)] = 7
    await app.consumer.perform_seek()
    assert app.consumer._read_offset[TopicPartition("t", 0)] is None
    assert "get_read_offset = self._read_offset.__getitem__" in inspect.getsource(faust_consumer.Consumer._drain_messages)


def test_a_task_of_a_service_knows_whose_it_is_and_a_stop_waits_for_it_without_a_limit() -> None:
    """With another Faust `agents/transport/stop.py` may be needless; its log line names a task by what is wrapped."""
    assert "fut.__wrapped__ = coro" in inspect.getsource(Service.add_future)
    assert "await self._gather_futures()" in inspect.getsource(Service._default_stop_futures)


def test_batches_wait_by_partition_and_a_process_can_end_at_once() -> None:
    assert "self._batches[tp]" in inspect.getsource(MessageAccumulator._pop_batch)
    assert parameters(os._exit) == ["status"]


def test_what_is_asked_about_topics_is_public_and_end_offsets_waits_for_what_was_assigned() -> None:
    """agents/places.py depends on it, and a test on a real broker shows that it works (tests/agents/test_places.py)."""
    for name, wanted in (("assign", ["self", "partitions"]), ("pause", ["self", "partitions"]), ("unsubscribe", ["self"]), ("topics", ["self"]),
                         ("partitions_for_topic", ["self", "topic"]), ("end_offsets", ["self", "partitions"])):
        assert parameters(getattr(AIOKafkaConsumer, name)) == wanted
    assert "self._client.set_topics([tp.topic for tp in partitions])" in inspect.getsource(AIOKafkaConsumer.assign)
    assert "await self._client._maybe_wait_metadata()" in inspect.getsource(fetcher.Fetcher._proc_offset_requests)


def test_tables_start_as_in_faust_without_its_second_of_waiting(tmp_path: Path) -> None:
    """What is left out is one line; the two others are as they are there, and an app takes the class from its settings."""
    source = [line.strip() for line in inspect.getsource(TableManager.on_start).splitlines()]
    assert source[2:] == ["await self.sleep(1.0)", "if not self.should_stop:", "await self._update_channels()", "await self.recovery.start()"]
    app = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="localhost:1", data_dir=str(tmp_path)))
    assert type(app.tables) is faust_plugin.Tables
    assert not app.tables, "a table would have to be declared before the app starts"


def test_every_produce_request_still_goes_through_the_method_that_the_guard_replaces() -> None:
    """A batch that is tried again is drained anew, so it is asked again, too."""
    assert "self._send_produce_req(node_id, node_batches)" in inspect.getsource(Sender._sender_routine)
    assert list(inspect.signature(Sender._send_produce_req).parameters) == ["self", "node_id", "batches"]
    assert inspect.getsource(Sender).count("_send_produce_req") == 2, "defined and called once"
    assert "self._sender = Sender(" in inspect.getsource(AIOKafkaProducer.__init__)


async def test_a_batch_gets_its_producer_id_where_it_is_taken_from_the_queue_and_keeps_it_when_it_is_tried_again() -> None:
    source = inspect.getsource(MessageAccumulator._pop_batch)
    assert source.index("not_retry = batch.retry_count == 0") < source.index("if self._txn_manager is not None and not_retry:")
    for asked in ("has_pid()", "sequence_number(batch.tp)", "increment_sequence_number(batch.tp, batch.record_count)", "producer_id", "producer_epoch"):
        assert f"self._txn_manager.{asked}" in source
        assert hasattr(Fence(1, 0), asked.partition("(")[0])
    assert source.count("_txn_manager.") == 5, "and nothing else"
    assert inspect.getsource(MessageAccumulator).count("self._pop_batch(") == 2, "the only way out of the queue"
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    accumulator = fencing(producer)._message_accumulator
    assert accumulator is producer._message_accumulator
    assert fencing(producer)._message_accumulator._pop_batch is accumulator._pop_batch, "once"
    builder, tp, fence = producer.create_batch(), TopicPartition("t", 0), Fence(7, 3)
    builder.append(key=b"k", value=b"v", timestamp=None)
    producer._txn_manager.set_pid_and_epoch(1, 0)
    batch = accumulator._append_batch(fenced(builder, fence), tp)
    assert batch._builder is builder
    accumulator._pop_batch(tp)
    record = next(MemoryRecords(bytes(batch.get_data_buffer())).next_batch() for _ in "1")
    assert (record.producer_id, record.producer_epoch, record.base_sequence) == (7, 3, 0)
    assert (fence.sequence_number(tp), producer._txn_manager.sequence_number(tp)) == (1, 0)
    batch.future.cancel()
    await producer.stop()


def test_the_producer_asks_its_client_who_coordinates_and_tries_again_when_a_node_is_not_ready() -> None:
    source = inspect.getsource(Sender._find_coordinator)
    assert "self.client.coordinator_lookup(" in source
    assert "Errors.NodeNotReadyError" in source
    assert "KafkaConnectionError" not in source, "then `patient` is no longer needed"


def test_a_static_member_and_the_compression_reach_aiokafka() -> None:
    app: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="h:1", instance="host-1", compression="lz4"))
    assert app.conf.consumer_group_instance_id == "host-1"
    assert app.producer._settings_default()["compression_type"] == "lz4"
    assert "group_instance_id=conf.consumer_group_instance_id" in inspect.getsource(driver.AIOKafkaConsumerThread._create_worker_consumer)
    plain: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="h:1"))
    assert (plain.conf.consumer_group_instance_id, plain.producer._settings_default()["compression_type"]) == (None, None)


def test_a_member_that_the_broker_does_not_know_forgets_its_id() -> None:
    """So a static member sees that it was replaced: its id was set before the heartbeat and is empty after it."""
    heartbeat = inspect.getsource(group_coordinator.GroupCoordinator._do_heartbeat)
    assert "error_type is Errors.UnknownMemberIdError" in heartbeat
    assert "self.reset_generation()" in heartbeat
    assert "self.member_id = JoinGroupRequest.UNKNOWN_MEMBER_ID" in inspect.getsource(group_coordinator.GroupCoordinator.reset_generation)
    assert "self._do_heartbeat()" in inspect.getsource(group_coordinator.GroupCoordinator._heartbeat_routine)
    assert inspect.getsource(group_coordinator.GroupCoordinator).count("await self._push_error_to_user(exc)") == 2, "and waits until a fetch takes it"
    commit = inspect.getsource(group_coordinator.GroupCoordinator._do_commit_offsets)
    assert "errored[tp] = error\n" in commit
    assert "raise first_error" in commit


def test_a_sender_leaves_muted_partitions_alone_and_sleeps_before_it_tries_again() -> None:
    """What `agents.transport.apart` relies on; `test_transport_apart.py` shows it at work."""
    assert "muted_partitions = self._muted_partitions" in inspect.getsource(Sender._sender_routine)
    assert "self._muted_partitions.remove(tp)" in inspect.getsource(Sender._send_produce_req)
    assert "self._default_backoff = sender._retry_backoff" in inspect.getsource(SendProduceReqHandler.__mro__[1].__init__)


def test_without_a_reset_strategy_an_offset_that_the_log_lacks_is_an_error_and_a_seek_clears_it() -> None:
    source = inspect.getsource(fetcher)
    assert "err = Errors.OffsetOutOfRangeError({tp: fetch_offset})" in source
    assert "err = Errors.NoOffsetForPartitionError(tp)" in source
    assert "del self._records[tp]" in inspect.getsource(fetcher.Fetcher.seek_to)
    app: Any = faust_app.build(faust_app.TransportSettings(group="g", bootstrap="h:1"))
    assert app.conf.consumer_auto_offset_reset == "none"


def test_the_consumer_thread_has_a_loop_that_a_dying_process_can_use() -> None:
    assert "self.thread_loop = thread_loop or asyncio.new_event_loop()" in inspect.getsource(ServiceThread.__init__)
    assert "self._group_instance_id is None" in inspect.getsource(group_coordinator.GroupCoordinator._maybe_leave_group)
