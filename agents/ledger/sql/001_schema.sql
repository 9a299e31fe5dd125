-- The ledger's tables. Append-only: a row is never changed; what is corrected is said again with a later version.
-- Three times: event time (`at`, `event_time`), recorded time (`recorded`: the record's time in Kafka), insert time (`inserted`).
-- Bodies are `json`, not `jsonb`: they keep every byte of the record, and `hash` chains the records of one (topic, partition) through them
-- (agents/ledger/rows.py, chain). The other columns of a row repeat what its body says; `Ledger.verify` compares both.

create table if not exists ledger_offset (
    topic       text    not null,
    part        integer not null,
    next_offset bigint  not null,
    hash        bytea   not null,
    updated     timestamptz not null default now(),
    primary key (topic, part)
);

-- What outside parties and the folds said. Left out: movements and positions between stations, which are many; what follows from them is a fact.
create table if not exists event (
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    key        text        not null,
    type       text        not null,
    source     text        not null,
    event_id   text        not null,
    event_time timestamptz,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    body       json        not null,
    hash       bytea       not null,
    primary key (recorded, topic, part, off)
) partition by range (recorded);
create index if not exists event_by_id on event (event_id) where event_id <> '';

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
    value      json,
    dated      boolean     not null,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    idx        integer     not null,
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
    body        json        not null,
    topic       text        not null,
    part        integer     not null,
    off         bigint      not null,
    hash        bytea       not null,
    primary key (recorded, topic, part, off)
) partition by range (recorded);
create index if not exists status_by_shipment on status (shipment, side, revision desc);
create index if not exists status_by_side on status (side, shipment, revision desc);

create table if not exists alert (
    key        text        not null,
    seq        bigint      not null,
    name       text        not null,
    severity   text        not null,
    state      text        not null,
    shipment   text        not null,
    side       text        not null,
    at         timestamptz not null,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    body       json        not null,
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    hash       bytea       not null,
    primary key (recorded, topic, part, off)
) partition by range (recorded);
create index if not exists alert_by_key on alert (key, seq desc);
create index if not exists alert_by_shipment on alert (shipment);

create table if not exists outcome (
    stage      text        not null,
    of_topic   text        not null,
    of_part    integer     not null,
    first_off  bigint      not null,
    last_off   bigint      not null,
    records    integer     not null,
    exceptions integer     not null,
    recorded   timestamptz not null,
    inserted   timestamptz not null default now(),
    body       json        not null,
    topic      text        not null,
    part       integer     not null,
    off        bigint      not null,
    hash       bytea       not null,
    primary key (recorded, topic, part, off)
) partition by range (recorded);
create index if not exists outcome_by_input on outcome (of_topic, of_part, first_off);

-- Look-ups, derived from the tables above and from movements. `lookup`: in capitals, without blanks and hyphens.
create table if not exists identifier (
    lookup   text not null,
    kind     text not null,
    value    text not null,
    shipment text not null,
    since    timestamptz not null,
    primary key (lookup, kind, shipment, value)
);
create index if not exists identifier_by_shipment on identifier (shipment);

-- Two numbers of one document, both ways.
create table if not exists alias (
    lookup text not null,
    other  text not null,
    primary key (lookup, other)
);

create table if not exists run (
    run     text not null primary key,
    railway text not null,
    number  text not null,
    date    text not null
);
create index if not exists run_by_number on run (number);

create table if not exists carried (
    wagon     text not null,
    run       text not null,
    container text not null,
    primary key (wagon, run, container)
);
