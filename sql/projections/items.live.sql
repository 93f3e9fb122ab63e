-- Brings items up to position $3. What is created in the range was not in the table before.
--
-- Deletions are looked up by id alone (`is not distinct from` hides the network from the planner): given more columns it
-- may pick an index that begins with network and domain, and read all of it for each deletion.
--
-- A domain's version is the position it was brought to. A counter would not do: a crash may lose the last folds, and
-- folded again in other portions, they would give a number that is part of cache keys to other rows.
with folded as materialized (
{fold}
), upserted as (
    insert into {schema}.items as i (
           item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state,
           item_private_state, item_latitude, item_longitude, created_by, created_at, updated_at, version, position,
           created_position)
    select $1, f.item_domain, f.item_type, f.item_id, f.item_instance_url, f.item_schema_url, f.item_state,
           f.item_private_state, f.item_latitude, f.item_longitude, f.created_by, f.created_at, f.updated_at, f.version,
           f.position, f.created_position
      from folded f where not f.deleted
    on conflict (item_network, item_domain, item_type, item_id) do update
       set (item_instance_url, item_schema_url, item_state, item_private_state, item_latitude, item_longitude,
            created_by, created_at, updated_at, version, position, created_position)
         = (excluded.item_instance_url, excluded.item_schema_url, excluded.item_state, excluded.item_private_state,
            excluded.item_latitude, excluded.item_longitude, excluded.created_by, excluded.created_at,
            excluded.updated_at, excluded.version, excluded.position, excluded.created_position)
     where i.version < excluded.version
    returning i.item_domain, i.created_position
), removed as (
    delete from {schema}.items i using folded f
     where f.deleted and i.item_id = f.item_id and i.item_network is not distinct from $1
    returning i.item_domain
), changed as materialized (
    select d.item_domain, sum(d.delta) as delta
      from (select u.item_domain, case when u.created_position > $2 then 1 else 0 end as delta from upserted u
             union all select r.item_domain, -1 from removed r) as d
     group by d.item_domain
), counted as (
    insert into {schema}.item_counts as c (item_network, item_domain, count)
    select $1, d.item_domain, d.delta from changed d
    on conflict (item_network, item_domain) do update set count = c.count + excluded.count
), versioned as (
    insert into projection_versions as v (network, domain, version)
    select $1, d.item_domain, $3 from changed d
    on conflict (network, domain) do update set version = greatest(v.version + 1, excluded.version)
), released as (
    delete from quarantine q using folded f
     where f.deleted and q.projection = 'items' and q.network = $1 and q.stream_id = f.item_id
    returning 1
), moved as (
    update projection_checkpoints p
       set position = $3, moved_at = clock_timestamp(), quarantined = p.quarantined - (select count(*) from released)
     where p.projection = 'items' and p.network = $1
    returning p.quarantined
)
select m.quarantined from moved m
