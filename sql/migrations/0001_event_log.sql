-- The append-only log and what the append writes beside it. DESIGN: ARCHITECTURE.md, "The log".

-- One row per network: the lock that puts a network's commits in order, and the last position given out.
create table log_head (
    network     text primary key,
    position    bigint not null default 0,
    -- Renewed when a restored backup makes positions be given out a second time.
    epoch       uuid not null default gen_random_uuid(),
    recorded_at timestamptz(3) not null default '-infinity'
) with (fillfactor = 10);

create table event_log (
    network     text not null,
    position    bigint not null,
    stream_id   uuid not null,
    version     int not null,
    event_id    uuid not null,
    event_type  text not null,
    recorded_at timestamptz(3) not null,
    payload     jsonb not null,
    metadata    jsonb not null,
    primary key (network, position)
) partition by list (network);

create index event_log_stream on event_log (stream_id, version);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the event log is append-only' using errcode = 'DP002';
end $$;

create trigger event_log_immutable before update or delete on event_log
    for each row execute function refuse_change();
create trigger event_log_no_truncate before truncate on event_log
    for each statement execute function refuse_change();

-- The write side's memory: optimistic lock and pointer to the last event of a stream.
create table stream_heads (
    stream_id      uuid primary key,
    network        text not null,
    type           text not null check (type in ('item', 'action')),
    version        int not null,
    position       bigint not null,
    first_position bigint not null,
    -- False once the stream has ended (a deleted item): nothing follows, and nothing may refer to it any more.
    open           boolean not null
) with (fillfactor = 80);

-- Private values never enter the log. One row per version of an item that has any; gone with the item.
create table item_private (
    stream_id uuid not null,
    version   int not null,
    state     jsonb not null,
    primary key (stream_id, version)
);

-- What an Idempotency-Key stands for (CONTRACT 1.9). A local effect commits with its events as `done`; an effect on
-- another instance is claimed as `sending` before the request goes out.
create table idempotency (
    caller        text not null,
    route         text not null,
    key           text not null,
    digest        bytea not null,
    state         text not null default 'done' check (state in ('sending', 'done', 'unknown')),
    status        int,
    network       text,
    stream_id     uuid,
    version       int,
    -- The fields of a remote target's answer; never a body with private values.
    answer        jsonb,
    claimed_until timestamptz,
    created_at    timestamptz not null default now(),
    primary key (caller, route, key)
);
create index idempotency_age on idempotency (created_at);

-- What is owed to peers: insert-only, no payload, `seq` dense per (network, destination).
create table outbox (
    network     text not null,
    destination text not null,
    seq         bigint not null,
    position    bigint not null,
    primary key (network, destination, seq)
);

create table outbox_heads (
    network     text not null,
    destination text not null,
    seq         bigint not null,
    primary key (network, destination)
) with (fillfactor = 50);

-- How far each sender's lane has arrived here without a gap, and what arrived beyond the first gap.
create table inbox (
    origin      text not null,
    network     text not null,
    destination text not null,
    epoch       uuid not null,
    high_water  bigint not null default 0,
    primary key (origin, network, destination, epoch)
) with (fillfactor = 50);

create table inbox_ahead (
    origin      text not null,
    network     text not null,
    destination text not null,
    epoch       uuid not null,
    seq         bigint not null,
    primary key (origin, network, destination, epoch, seq)
);

-- Which table holds which key, so that two keys never share a name. `parent` is event_log, items, item_actions,
-- action_events, or one of their partitions.
create table partition_names (
    parent text not null,
    key    text not null,
    name   text not null unique,
    primary key (parent, key)
);
