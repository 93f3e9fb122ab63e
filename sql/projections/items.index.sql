create index on {schema}.items (item_network, item_domain, created_at desc, item_id desc);
create index on {schema}.items (item_network, item_domain, item_type, created_at desc, item_id desc);
create index on {schema}.items (item_id);
create index on {schema}.items (created_by, created_at desc);
-- The short pending list bounds what one fold has to sort in.
create index on {schema}.items using gin (item_state jsonb_path_ops) with (gin_pending_list_limit = 512);
create index on {schema}.items using gist (point(item_longitude, item_latitude)) where item_latitude is not null;
