-- Fills an empty table with everything up to position $3.
insert into {schema}.action_events (
       partition_network, action_type, event_id, action_id, origin_instance_domain, action_status, update_count,
       source_item_network, source_item_domain, source_item_type, source_item_id, source_item_instance_url,
       source_item_owner, target_item_network, target_item_domain, target_item_type, target_item_id,
       target_item_instance_url, target_item_owner, source_item_latitude, source_item_longitude,
       target_item_latitude, target_item_longitude, event_payload, remarks, source_here, target_here,
       created_at, position)
select
       $1, f.action_type, f.event_id, f.action_id, f.origin_instance_domain, f.action_status, f.update_count,
       f.source_item_network, f.source_item_domain, f.source_item_type, f.source_item_id,
       f.source_item_instance_url, f.source_item_owner, f.target_item_network, f.target_item_domain,
       f.target_item_type, f.target_item_id, f.target_item_instance_url, f.target_item_owner,
       f.source_item_latitude, f.source_item_longitude, f.target_item_latitude, f.target_item_longitude,
       f.event_payload, f.remarks, f.source_here, f.target_here, f.created_at, f.position
  from (
{fold}
) as f
 order by f.position
on conflict do nothing
