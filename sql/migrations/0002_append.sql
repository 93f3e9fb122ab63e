-- The append. One autocommit statement at READ COMMITTED, one network per call, never inside BEGIN/COMMIT: a client that
-- is stopped in between would hold the head. Every step is a statement of its own, so that each sees what was committed
-- before the lock was got: checked in the same statement as the lock, two writers can both be given version 2.
--
-- Arrays of one family (e_, g_, i_, m_) run in parallel, one element per event, guard, idempotency key or inbox mark;
-- `*_command` is the 1-based number of the command that it belongs to. A command wins or loses as a whole.
--
-- The settings pin the plans: planned on empty tables the look-ups by primary key would stay scans.
create function append(
    p_network     text,
    p_commands    int,
    e_command     int[],
    e_stream      uuid[],
    e_type        text[],
    e_version     int[],
    e_event_id    uuid[],
    e_event_type  text[],
    e_payload     jsonb[],
    e_metadata    jsonb[],
    e_closes      boolean[],
    e_private     jsonb[],
    e_destination text[],
    g_command     int[],
    g_stream      uuid[],
    i_command     int[],
    i_caller      text[],
    i_route       text[],
    i_key         text[],
    i_digest      bytea[],
    i_status      int[],
    i_stream      uuid[],
    i_version     int[],
    m_command     int[],
    m_origin      text[],
    m_destination text[],
    m_epoch       uuid[],
    m_seq         bigint[]
) returns table (command int, outcome text, at_position bigint, at_time timestamptz)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    head       log_head%rowtype;
    now_at     timestamptz(3);
    winners    int[];
    replays    int[] := '{}';
    -- Per event: its position, or null when its command did not win.
    e_position bigint[];
begin
    -- 1. The lock, alone.
    select * into head from log_head h where h.network = p_network for update;
    if not found then
        raise exception 'no log for this network' using errcode = 'DP001';
    end if;

    -- 2. Winners: every expected version holds, no earlier command of the batch writes the same stream, and every guard
    --    is open and is not closed by another command of the batch.
    with event as (
        select e.command, e.stream,
               e.version - (row_number() over (partition by e.command, e.stream order by e.ord))::int as expected,
               min(e.command) over (partition by e.stream) as first_command
          from unnest(e_command, e_stream, e_version) with ordinality as e (command, stream, version, ord)
    ), lost as (
        select e.command from event e
         where e.command <> e.first_command
            or e.expected <> coalesce((select case when h.network = p_network and h.open then h.version else -1 end
                                         from stream_heads h where h.stream_id = e.stream), 0)
        union
        select g.command from unnest(g_command, g_stream) as g (command, stream)
         where not coalesce((select h.open from stream_heads h where h.stream_id = g.stream), false)
            or exists (select from unnest(e_command, e_stream, e_closes) as e (command, stream, closes)
                        where e.closes and e.stream = g.stream and e.command <> g.command)
    )
    select coalesce(array_agg(c order by c), '{}') into winners
      from generate_series(1, p_commands) as c
     where c not in (select l.command from lost l);

    -- 3. Idempotency: whoever inserts the key owns it. Sorted by key, so that two networks' appends can't deadlock.
    if cardinality(i_command) > 0 then
        with candidate as (
            select distinct on (i.caller, i.route, i.key) i.*
              from unnest(i_command, i_caller, i_route, i_key, i_digest, i_status, i_stream, i_version)
                   as i (command, caller, route, key, digest, status, stream, version)
             where i.command = any (winners)
             order by i.caller, i.route, i.key, i.command
        ), fresh as (
            insert into idempotency (caller, route, key, digest, status, network, stream_id, version)
            select c.caller, c.route, c.key, c.digest, c.status, p_network, c.stream, c.version from candidate c
            on conflict do nothing
            returning caller, route, key
        )
        select coalesce(array_agg(i.command), '{}') into replays
          from unnest(i_command) as i (command)
         where i.command = any (winners)
           and i.command not in (select c.command from candidate c
                                   join fresh f on (f.caller, f.route, f.key) = (c.caller, c.route, c.key));
        winners := array(select w from unnest(winners) as w where w <> all (replays));
    end if;

    -- 4. Positions and time for what remains.
    now_at := greatest(head.recorded_at, date_trunc('milliseconds', clock_timestamp()));
    e_position := array(
        select case when e.command = any (winners)
                    then head.position + count(*) filter (where e.command = any (winners)) over (order by e.ord) end
          from unnest(e_command) with ordinality as e (command, ord)
         order by e.ord);

    insert into event_log (network, position, stream_id, version, event_id, event_type, recorded_at, payload, metadata)
    select p_network, e.position, e.stream, e.version, e.event_id, e.event_type, now_at, e.payload, e.metadata
      from unnest(e_position, e_stream, e_version, e_event_id, e_event_type, e_payload, e_metadata)
           as e (position, stream, version, event_id, event_type, payload, metadata)
     where e.position is not null;

    insert into stream_heads as h (stream_id, network, type, version, position, first_position, open)
    select distinct on (e.stream) e.stream, p_network, e.type, e.version, e.position,
           min(e.position) over (partition by e.stream), not e.closes
      from unnest(e_position, e_stream, e_type, e_version, e_closes) as e (position, stream, type, version, closes)
     where e.position is not null
     order by e.stream, e.version desc
    on conflict (stream_id) do update
       set version = excluded.version, position = excluded.position, open = excluded.open;

    if true = any (e_closes) then
        delete from item_private p
         where p.stream_id in (select e.stream from unnest(e_position, e_stream, e_closes) as e (position, stream, closes)
                                where e.closes and e.position is not null);
    end if;
    insert into item_private (stream_id, version, state)
    select e.stream, e.version, e.private
      from unnest(e_position, e_stream, e_version, e_private) as e (position, stream, version, private)
     where e.position is not null and e.private is not null;

    with owed as (
        select e.destination, e.position,
               row_number() over (partition by e.destination order by e.position) as rank,
               count(*) over (partition by e.destination) as total
          from unnest(e_position, e_destination) as e (position, destination)
         where e.position is not null and e.destination is not null
    ), counted as (
        insert into outbox_heads as o (network, destination, seq)
        select distinct p_network, w.destination, w.total from owed w
        on conflict (network, destination) do update set seq = o.seq + excluded.seq
        returning destination, seq
    )
    insert into outbox (network, destination, seq, position)
    select p_network, w.destination, c.seq - w.total + w.rank, w.position
      from owed w join counted c on c.destination = w.destination;

    if cardinality(m_command) > 0 then
        perform mark_inbox(p_network, m.origin, m.destination, m.epoch, array_agg(m.seq))
           from unnest(m_command, m_origin, m_destination, m_epoch, m_seq) as m (command, origin, destination, epoch, seq)
          where m.command = any (winners)
          group by m.origin, m.destination, m.epoch;
    end if;

    -- 5. The head.
    update log_head h
       set position = head.position + (select count(*) from unnest(e_position) as p where p is not null),
           recorded_at = now_at
     where h.network = p_network;

    -- One row per command. (A look into the arrays for each of them would cost more than the insert.)
    return query
        select e.command, case when e.command = any (winners) then 'won' when e.command = any (replays) then 'replayed'
                               else 'conflict' end, max(e.position), now_at::timestamptz
          from unnest(e_command, e_position) as e (command, position)
         group by e.command
        union all
        select c, case when c = any (winners) then 'won' when c = any (replays) then 'replayed' else 'conflict' end,
               null::bigint, now_at::timestamptz
          from generate_series(1, p_commands) as c
         where c <> all (e_command);
end $$;

-- Moves a receiver's contiguous mark over `seqs` and over what had arrived early; a number beyond a gap is remembered.
create function mark_inbox(p_network text, p_origin text, p_destination text, p_epoch uuid, seqs bigint[])
returns bigint language plpgsql volatile as $$
declare
    mark bigint;
begin
    insert into inbox (origin, network, destination, epoch) values (p_origin, p_network, p_destination, p_epoch)
    on conflict do nothing;
    select i.high_water into mark from inbox i
     where (i.origin, i.network, i.destination, i.epoch) = (p_origin, p_network, p_destination, p_epoch) for update;

    insert into inbox_ahead (origin, network, destination, epoch, seq)
    select p_origin, p_network, p_destination, p_epoch, s from unnest(seqs) as s where s > mark
    on conflict do nothing;

    -- The numbers beyond the mark are dense as long as seq − rank stays equal to the mark.
    select coalesce(max(a.seq), mark) into mark
      from (select seq, row_number() over (order by seq) as rank from inbox_ahead
             where (origin, network, destination, epoch) = (p_origin, p_network, p_destination, p_epoch)) as a
     where a.seq = mark + a.rank;

    delete from inbox_ahead a
     where (a.origin, a.network, a.destination, a.epoch) = (p_origin, p_network, p_destination, p_epoch) and a.seq <= mark;
    update inbox i set high_water = mark
     where (i.origin, i.network, i.destination, i.epoch) = (p_origin, p_network, p_destination, p_epoch);
    return mark;
end $$;

-- Loads a stream's last state: the head first, then the event by constants, so that only its partition is opened.
-- (A join through the parent grows with the number of partitions.)
create function load_stream(p_stream uuid)
returns table (network text, type text, version int, "position" bigint, first_position bigint, open boolean,
               event_id uuid, event_type text, recorded_at timestamptz, payload jsonb)
language plpgsql stable
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    h stream_heads%rowtype;
begin
    select * into h from stream_heads s where s.stream_id = p_stream;
    if not found then return; end if;
    return query
        select h.network, h.type, h.version, h.position, h.first_position, h.open,
               e.event_id, e.event_type, e.recorded_at::timestamptz, e.payload
          from event_log e where e.network = h.network and e.position = h.position;
end $$;
