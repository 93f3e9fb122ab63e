-- The history row of every action event in ($2, $3] of network $1. Who and what the action is comes from the action's
-- state, which an event can't change.
select l.event_id, l.stream_id as action_id, a.action_type, v.origin_instance_domain, v.action_status, v.update_count,
       a.source_item_network, a.source_item_domain, a.source_item_type, a.source_item_id,
       a.source_item_instance_url, a.source_item_owner, a.target_item_network, a.target_item_domain,
       a.target_item_type, a.target_item_id, a.target_item_instance_url, a.target_item_owner,
       v.source_item_latitude, v.source_item_longitude, v.target_item_latitude, v.target_item_longitude,
       coalesce(v.event_payload, '{}') as event_payload, v.remarks, a.source_here, a.target_here,
       coalesce(v.occurred_at, l.recorded_at) as created_at, l.position
  from (select l.stream_id, l.event_id, l.position, l.recorded_at, l.payload
          from event_log l
         where l.network = $1 and l.position > $2 and l.position <= $3
           and l.event_type in ('action.performed', 'action.status_updated', 'action.event_mirrored')
           and {streams}
           and not exists (select from quarantine q
                            where q.projection = 'action_events' and q.network = $1 and q.stream_id = l.stream_id)
        -- A fence: what is held back must not be read at all, for reading it is what fails.
        offset 0) as l
  left join lateral jsonb_to_record(l.payload -> 'action') as a (
       action_type text, source_item_network text, source_item_domain text, source_item_type text,
       source_item_id uuid, source_item_instance_url text, source_item_owner text, target_item_network text,
       target_item_domain text, target_item_type text, target_item_id uuid, target_item_instance_url text,
       target_item_owner text, source_here boolean, target_here boolean) on true
  left join lateral jsonb_to_record(l.payload -> 'event') as v (
       origin_instance_domain text, action_status text, update_count int, source_item_latitude double precision,
       source_item_longitude double precision, target_item_latitude double precision,
       target_item_longitude double precision, event_payload jsonb, remarks text, occurred_at timestamptz) on true
