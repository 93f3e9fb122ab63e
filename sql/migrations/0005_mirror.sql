-- How delivery to peers stands. A lane is one (network, destination), the row that mirror workers own.

create table lanes (
    network          text not null,
    destination      text not null,
    -- Every seq up to it is delivered, parked or dropped.
    acknowledged_seq bigint not null default 0,
    state            text not null default 'ready'
                     check (state in ('ready', 'backing_off', 'refused', 'paused', 'unregistered')),
    failures         int not null default 0,
    -- Parked events since the last delivery; twenty in a row back the lane off.
    parked_in_row    int not null default 0,
    next_attempt_at  timestamptz(3),
    -- Counts whatever ended a wait (contact, a new contract, an operator), so that a failure of an attempt that began
    -- before does not bring the wait back.
    nudges           int not null default 0,
    -- The fence: an acknowledgement counts only from the holder of an unexpired lease. Whoever moves a lane from outside
    -- (resend) clears the holder.
    lease_holder     uuid,
    lease_until      timestamptz,
    -- {"at", "status", "error", "message"} of CONTRACT 4.23.
    last_error       jsonb,
    created_at       timestamptz(3) not null default now(),
    primary key (network, destination)
) with (fillfactor = 50);

create table parked_events (
    id           uuid primary key,
    network      text not null,
    destination  text not null,
    seq          bigint not null,
    action_id    uuid not null,
    update_count int not null,
    parked_at    timestamptz(3) not null default now(),
    attempts     int not null default 1,
    -- Parked because the peer holds another content for this event.
    conflict     boolean not null default false,
    status       int,
    error        text,
    message      text,
    -- Null while it is parked; then `retry`, `delivered` or `dropped`, by whom and why.
    resolution   text check (resolution in ('retry', 'delivered', 'dropped')),
    resolved_at  timestamptz(3),
    resolved_by  text,
    reason       text,
    unique (network, destination, seq)
);
create index parked_events_open on parked_events (network, destination) where resolution is null;

-- Nonces of signed writes, remembered for 600 seconds.
create table seen_nonces (
    keyid   text not null,
    nonce   text not null,
    seen_at timestamptz not null default now(),
    primary key (keyid, nonce)
);
create index seen_nonces_age on seen_nonces (seen_at);
