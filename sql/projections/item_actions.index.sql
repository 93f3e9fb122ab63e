create index on {schema}.item_actions (action_id);
create index on {schema}.item_actions (source_item_owner, updated_at desc);
create index on {schema}.item_actions (target_item_owner, updated_at desc);
create index on {schema}.item_actions (source_item_id, created_at desc);
create index on {schema}.item_actions (target_item_id, created_at desc);
create index on {schema}.item_actions (action_status, created_at desc);
