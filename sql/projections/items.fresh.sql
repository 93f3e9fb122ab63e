-- Fills an empty table with everything up to position $3.
insert into {schema}.items (
       item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state, item_private_state,
       item_latitude, item_longitude, created_by, created_at, updated_at, version, position, created_position)
select $1, f.item_domain, f.item_type, f.item_id, f.item_instance_url, f.item_schema_url, f.item_state,
       f.item_private_state, f.item_latitude, f.item_longitude, f.created_by, f.created_at, f.updated_at, f.version,
       f.position, f.created_position
  from (
{fold}
) as f where not f.deleted
