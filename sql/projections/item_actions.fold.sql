-- The last state of every action with an event in ($2, $3] of network $1. An action whose target item lived here and is
-- deleted by then is left out: a closed stream never opens again, so its head tells.
select e.stream_id as action_id,
       a.action_type, a.action_status, a.update_count,
       a.source_item_network, a.source_item_domain, a.source_item_type, a.source_item_id,
       a.source_item_instance_url, a.source_item_owner, a.target_item_network, a.target_item_domain,
       a.target_item_type, a.target_item_id, a.target_item_instance_url, a.target_item_owner,
       coalesce(a.requirements_snapshot, '{}') as requirements_snapshot, a.remarks, a.source_here, a.target_here,
       coalesce(a.created_at, e.recorded_at) as created_at, coalesce(a.updated_at, e.recorded_at) as updated_at,
       e.version, e.position
  from (select distinct on (l.stream_id) l.stream_id, l.version, l.position, l.recorded_at,
               l.payload -> 'action' as action
          from event_log l
         where l.network = $1 and l.position > $2 and l.position <= $3
           and l.event_type in ('action.performed', 'action.status_updated', 'action.event_mirrored')
           and {streams}
           -- In here, so that what is held back is not read at all: reading it is what fails.
           and not exists (select from quarantine q
                            where q.projection = 'item_actions' and q.network = $1 and q.stream_id = l.stream_id)
         order by l.stream_id, l.version desc) as e
  left join lateral jsonb_to_record(e.action) as a (
       action_type text, action_status text, update_count int, source_item_network text,
       source_item_domain text, source_item_type text, source_item_id uuid, source_item_instance_url text,
       source_item_owner text, target_item_network text, target_item_domain text, target_item_type text,
       target_item_id uuid, target_item_instance_url text, target_item_owner text, requirements_snapshot jsonb,
       remarks text, source_here boolean, target_here boolean, created_at timestamptz, updated_at timestamptz) on true
 where not exists (select from stream_heads h
                    where a.target_here and h.stream_id = a.target_item_id and not h.open and h.network = $1
                      and h.position <= $3)
