-- Batches between instances of our own make, and what operators do to lanes (CONTRACT 4.14a, 4.24).

alter table lanes
    -- The peer's contiguous mark as it last told it.
    add column high_water    bigint not null default 0,
    -- When the peer was last asked for its mark, with events or without.
    add column marked_at     timestamptz(3),
    -- When events were last sent again because the peer's mark was behind, and from which mark on.
    add column refilled_at   timestamptz(3),
    add column refilled_mark bigint,
    -- Where the destination is now, if an operator said that it has changed its address.
    add column moved_to      text,
    -- What an operator last did to the lane.
    add column operation     text,
    add column operated_by   text,
    add column operated_at   timestamptz(3);

create index parked_events_retry on parked_events (network, destination, seq) where resolution = 'retry';
create index parked_events_dropped on parked_events (network, destination, seq) where resolution = 'dropped';
create index parked_events_listed on parked_events (parked_at desc, id desc) where resolution is null;
