-- What the projector keeps beside its tables. The tables themselves are made from sql/projections/.

create table projection_checkpoints (
    projection  text not null,
    network     text not null,
    -- Everything up to this position is in the projection's tables, but for quarantined streams.
    position    bigint not null default 0,
    -- Rows in `quarantine` for this projection and network: whoever sees the position sees at once whether to look there.
    quarantined int not null default 0,
    moved_at    timestamptz not null default now(),
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

-- Takes the checkpoint of (projection, network), unless another projector holds it (then no row), and describes the next
-- positions: how many there are, how many concern this projection. When none does, the checkpoint moves over them here
-- and now. The lock lasts as long as the caller's transaction.
--
-- The statements are separate so that each sees what was committed before the lock was got. Plans are pinned to indexes
-- for the rest of the transaction, the fold included: planned on empty tables, they would go on to scan full ones.
create function projection_range(p_projection text, p_network text, p_limit int, p_types text[])
returns table (low bigint, high bigint, events bigint, own bigint, quarantined int, oldest timestamptz)
language plpgsql volatile
as $$
#variable_conflict use_column
declare
    c       projection_checkpoints%rowtype;
    v_high  bigint;
    v_count bigint;
    v_own   bigint;
    v_since timestamptz;
begin
    perform set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
            set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);

    select * into c from projection_checkpoints p
     where p.projection = p_projection and p.network = p_network for update skip locked;
    if not found then return; end if;

    select least(h.position, c.position + p_limit) into v_high from log_head h where h.network = p_network;
    if v_high is null or v_high <= c.position then
        return query select c.position, c.position, 0::bigint, 0::bigint, c.quarantined, null::timestamptz;
        return;
    end if;

    select count(*), count(*) filter (where e.event_type = any (p_types)), min(e.recorded_at)
      into v_count, v_own, v_since
      from event_log e where e.network = p_network and e.position > c.position and e.position <= v_high;
    if v_own = 0 and v_count = v_high - c.position then
        update projection_checkpoints p set position = v_high, moved_at = clock_timestamp()
         where p.projection = p_projection and p.network = p_network;
    end if;
    return query select c.position, v_high, v_count, v_own, c.quarantined, v_since;
end $$;
