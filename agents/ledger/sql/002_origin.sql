-- What the ledger's reading begins from, beside the next offset; and the gaps that people have accepted.
-- Asked first: altering locks the table against everybody, even if there is nothing to alter.
do $$ begin
    if not exists (select from pg_attribute where attrelid = 'ledger_offset'::regclass and attname = 'topic_id') then
        -- topic_id: which topic of this name was read; empty in rows of before, until a writer goes on with them.
        -- read_to: everything before it was read; behind the last record there may be markers of transactions.
        alter table ledger_offset add column topic_id text not null default '', add column read_to bigint not null default 0;
    end if;
end $$;

-- Append-only: records that were deleted before the ledger read them, and who went on without them, why and when.
create table if not exists ledger_gap (
    topic     text        not null,
    part      integer     not null,
    first_off bigint      not null,
    last_off  bigint      not null,
    topic_id  text        not null,
    by        text        not null,
    reason    text        not null,
    at        timestamptz not null default now(),
    primary key (topic, part, first_off)
);
