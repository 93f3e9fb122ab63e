-- Brings item_actions up to position $3, and takes out the actions whose target item was deleted in the range. (Those
-- are looked up by the target alone, as in items.)
with folded as materialized (
{fold}
), upserted as (
    insert into {schema}.item_actions as t (
           partition_network, action_type, action_id, action_status, update_count, source_item_network,
           source_item_domain, source_item_type, source_item_id, source_item_instance_url, source_item_owner,
           target_item_network, target_item_domain, target_item_type, target_item_id, target_item_instance_url,
           target_item_owner, requirements_snapshot, remarks, source_here, target_here, created_at, updated_at,
           version, position)
    select
           $1, f.action_type, f.action_id, f.action_status, f.update_count, f.source_item_network,
           f.source_item_domain, f.source_item_type, f.source_item_id, f.source_item_instance_url,
           f.source_item_owner, f.target_item_network, f.target_item_domain, f.target_item_type,
           f.target_item_id, f.target_item_instance_url, f.target_item_owner, f.requirements_snapshot,
           f.remarks, f.source_here, f.target_here, f.created_at, f.updated_at, f.version, f.position
      from folded f
    on conflict (partition_network, action_type, action_id) do update
       set (
           action_status, update_count, source_item_network, source_item_domain, source_item_type,
           source_item_id, source_item_instance_url, source_item_owner, target_item_network, target_item_domain,
           target_item_type, target_item_id, target_item_instance_url, target_item_owner, requirements_snapshot,
           remarks, source_here, target_here, created_at, updated_at, version, position)
         = (
           excluded.action_status, excluded.update_count, excluded.source_item_network,
           excluded.source_item_domain, excluded.source_item_type, excluded.source_item_id,
           excluded.source_item_instance_url, excluded.source_item_owner, excluded.target_item_network,
           excluded.target_item_domain, excluded.target_item_type, excluded.target_item_id,
           excluded.target_item_instance_url, excluded.target_item_owner, excluded.requirements_snapshot,
           excluded.remarks, excluded.source_here, excluded.target_here, excluded.created_at,
           excluded.updated_at, excluded.version, excluded.position)
     where t.version < excluded.version
), removed as (
    delete from {schema}.item_actions t
     using (select l.stream_id from event_log l
             where l.network = $1 and l.position > $2 and l.position <= $3 and l.event_type = 'item.deleted') as gone
     where t.target_item_id = gone.stream_id and t.target_here and t.partition_network is not distinct from $1
), moved as (
    update projection_checkpoints p set position = $3, moved_at = clock_timestamp()
     where p.projection = 'item_actions' and p.network = $1
    returning p.quarantined
)
select m.quarantined from moved m
