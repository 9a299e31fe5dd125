-- The ledger's tables. Append-only: a row is never changed; what is corrected is said again with a later version.
-- Three times: event time (`at`, `event_time`), recorded time (`recorded`: the broker's append time), insert time (`inserted`).
-- `hash` chains the rows of one (topic, partition): sha256 over the previous hash and the row's canonical bytes.

create table if not exists ledger_offset (
    topic      text    not null,
    part       integer not null,
    next_offset bigint not null,
    hash       bytea   not null,
    topic_id   text    not null default '',
    updated    timestamptz not null default now(),
    primary key (topic, part)
);

create table if not exists event (
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    key        text        not null,
    type       text        not null,
    source     text        not null default '',
    event_id   text        not null default '',
    event_time timestamptz,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    body       jsonb       not null,
    hash       bytea       not null,
    primary key (recorded, topic, part, off)
) partition by range (recorded);
create index if not exists event_by_id on event (event_id);
create index if not exists event_by_key on event (key, recorded);

create table if not exists fact (
    shipment   text        not null,
    side       text        not null,
    key        text[]      not null,
    scope      text        not null,
    source     text        not null,
    record     text        not null,
    version    bigint      not null,
    rank       smallint    not null,
    at         timestamptz not null,
    event_id   text        not null,
    code       text        not null,
    value      jsonb,
    dated      boolean     not null default false,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    idx        integer     not null,
    hash       bytea       not null,
    primary key (recorded, topic, part, off, idx)
) partition by range (recorded);
create index if not exists fact_by_shipment on fact (shipment, recorded);

create table if not exists status (
    shipment    text        not null,
    side        text        not null,
    visit       integer     not null,
    revision    bigint      not null,
    state       text        not null,
    basis       text        not null,
    assessed_at timestamptz not null,
    recorded    timestamptz not null,
    inserted    timestamptz not null default now(),
    pack        text        not null,
    body        jsonb       not null,
    topic       text        not null,
    part        integer     not null,
    off         bigint      not null,
    hash        bytea       not null,
    primary key (recorded, shipment, side, revision)
) partition by range (recorded);
create index if not exists status_by_shipment on status (shipment, side, revision desc);
create index if not exists status_by_side on status (side, revision desc);

create table if not exists alert (
    key        text        not null,
    seq        bigint      not null,
    name       text        not null,
    severity   text        not null,
    state      text        not null,
    shipment   text        not null default '',
    side       text        not null default '',
    at         timestamptz not null,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    body       jsonb       not null,
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    hash       bytea       not null,
    primary key (recorded, key, seq)
) partition by range (recorded);
create index if not exists alert_by_key on alert (key, seq desc);
create index if not exists alert_by_shipment on alert (shipment);

create table if not exists outcome (
    stage      text        not null,
    topic      text        not null,
    part       integer     not null,
    first_off  bigint      not null,
    last_off   bigint      not null,
    records    integer     not null,
    exceptions jsonb       not null,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    from_topic text        not null,
    from_part  integer     not null,
    from_off   bigint      not null,
    hash       bytea       not null,
    primary key (recorded, from_topic, from_part, from_off)
) partition by range (recorded);
create index if not exists outcome_by_input on outcome (topic, part, first_off);

-- Which shipment an outside identifier belongs to: container, document, official number, train run.
create table if not exists identifier (
    kind     text not null,
    value    text not null,
    shipment text not null,
    since    timestamptz not null,
    primary key (value, kind, shipment)
);
create index if not exists identifier_by_shipment on identifier (shipment);
