create index on {schema}.action_events (action_id, update_count desc);
create index on {schema}.action_events (source_item_owner, created_at desc);
create index on {schema}.action_events (target_item_owner, created_at desc);
create index on {schema}.action_events (source_item_id, created_at desc);
create index on {schema}.action_events (target_item_id, created_at desc);
