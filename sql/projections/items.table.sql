-- The items of this instance as clients read them (CONTRACT 11). One schema per build of the projection.
create table {schema}.items (
    item_network       text collate "C" not null,
    item_domain        text collate "C" not null,
    item_type          text collate "C" not null,
    item_id            uuid not null,
    item_instance_url  text not null,
    item_schema_url    text not null,
    item_state         jsonb not null default '{}',
    item_private_state jsonb not null default '{}',
    item_latitude      double precision,
    item_longitude     double precision,
    created_by         text collate "C" not null,
    created_at         timestamptz(3) not null,
    updated_at         timestamptz(3) not null,
    version            int not null,
    position           bigint not null,
    created_position   bigint not null,
    primary key (item_network, item_domain, item_type, item_id),
    constraint items_latitude check (item_latitude between -90 and 90),
    constraint items_longitude check (item_longitude between -180 and 180),
    constraint items_coordinates check ((item_latitude is null) = (item_longitude is null)),
    constraint items_state check (jsonb_typeof(item_state) = 'object')
) partition by list (item_network);

-- Totals of unfiltered pages; moved by the fold in the same transaction as the rows.
create table {schema}.item_counts (
    item_network text collate "C" not null,
    item_domain  text collate "C" not null,
    count        bigint not null,
    primary key (item_network, item_domain)
) with (fillfactor = 20);
