-- Brings items up to position $3. Holds the checkpoint, so `known` and the upsert see the same rows.
with folded as materialized (
{fold}
), states as materialized (
    select f.*,
           (select i.version from {schema}.items i
             where i.item_network = $1 and i.item_domain = f.item_domain and i.item_type = f.item_type
               and i.item_id = f.item_id) as known
      from folded f where not f.deleted
), upserted as (
    insert into {schema}.items as i (
           item_network, item_domain, item_type, item_id, item_instance_url, item_schema_url, item_state,
           item_private_state, item_latitude, item_longitude, created_by, created_at, updated_at, version, position,
           created_position)
    select $1, s.item_domain, s.item_type, s.item_id, s.item_instance_url, s.item_schema_url, s.item_state,
           s.item_private_state, s.item_latitude, s.item_longitude, s.created_by, s.created_at, s.updated_at, s.version,
           s.position, s.created_position
      from states s where s.known is null or s.known < s.version
    on conflict (item_network, item_domain, item_type, item_id) do update
       set (item_instance_url, item_schema_url, item_state, item_private_state, item_latitude, item_longitude,
            created_by, created_at, updated_at, version, position, created_position)
         = (excluded.item_instance_url, excluded.item_schema_url, excluded.item_state, excluded.item_private_state,
            excluded.item_latitude, excluded.item_longitude, excluded.created_by, excluded.created_at,
            excluded.updated_at, excluded.version, excluded.position, excluded.created_position)
     where i.version < excluded.version
), removed as (
    delete from {schema}.items i using folded f
     where f.deleted and i.item_network = $1 and i.item_id = f.item_id
    returning i.item_domain
), changed as materialized (
    select d.item_domain, sum(d.delta) as delta
      from (select s.item_domain, case when s.known is null then 1 else 0 end as delta
              from states s where s.known is null or s.known < s.version
             union all select r.item_domain, -1 from removed r) as d
     group by d.item_domain
), counted as (
    insert into {schema}.item_counts as c (item_network, item_domain, count)
    select $1, d.item_domain, d.delta from changed d
    on conflict (item_network, item_domain) do update set count = c.count + excluded.count
), versioned as (
    insert into projection_versions as v (network, domain, version)
    select $1, d.item_domain, 1 from changed d
    on conflict (network, domain) do update set version = v.version + 1
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
