-- What the projector keeps beside its tables. The tables themselves are made from sql/projections/.

create table projection_checkpoints (
    projection text not null,
    network    text not null,
    -- Everything up to this position is in the projection's tables.
    position   bigint not null default 0,
    moved_at   timestamptz not null default now(),
    primary key (projection, network)
) with (fillfactor = 10);

-- Counts what a reader of (network, domain) could see change; part of page-cache keys.
create table projection_versions (
    network text not null,
    domain  text not null,
    version bigint not null,
    primary key (network, domain)
) with (fillfactor = 20);

-- A stream with an event that can't be folded: held back alone until an operator has repaired it.
create table quarantine (
    projection     text not null,
    network        text not null,
    stream_id      uuid not null,
    position       bigint not null,
    sqlstate       text not null,
    error          text not null,
    quarantined_at timestamptz not null default now(),
    primary key (projection, network, stream_id)
);
