-- The last state of every item with an event in ($2, $3] of network $1, and which of them are deleted. A deletion asks
-- nothing of its payload, so that a quarantined item can be deleted too.
select e.stream_id as item_id,
       e.event_type = 'item.deleted' as deleted,
       s.item_domain, s.item_type, s.item_instance_url, s.item_schema_url, s.item_state,
       coalesce(p.state, '{}') as item_private_state,
       s.item_latitude, s.item_longitude, s.created_by,
       coalesce(s.created_at, e.recorded_at) as created_at,
       e.recorded_at as updated_at,
       e.version, e.position,
       coalesce(s.created_position, e.position) as created_position
  from (select distinct on (l.stream_id) l.stream_id, l.event_type, l.version, l.position, l.recorded_at,
               case when l.event_type = 'item.deleted' then '{}' else l.payload end as payload
          from event_log l
         where l.network = $1 and l.position > $2 and l.position <= $3
           and l.event_type in ('item.created', 'item.updated', 'item.deleted')
           and {streams}
           -- In here, so that what is held back is not read at all: reading it is what fails.
           and (l.event_type = 'item.deleted'
                or not exists (select from quarantine q
                                where q.projection = 'items' and q.network = $1 and q.stream_id = l.stream_id))
         order by l.stream_id, l.version desc) as e
 cross join lateral jsonb_to_record(e.payload) as s (
       item_domain text, item_type text, item_instance_url text, item_schema_url text, item_state jsonb,
       item_latitude double precision, item_longitude double precision, created_by text,
       created_at timestamptz, created_position bigint)
  left join item_private p on p.stream_id = e.stream_id and p.version = e.version
