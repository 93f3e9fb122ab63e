-- The actions that this instance holds or takes part in (CONTRACT 11).
create table {schema}.item_actions (
    partition_network           text collate "C" not null,
    action_type                 text collate "C" not null,
    action_id                   uuid not null,
    action_status               text collate "C" not null,
    update_count                int not null default 0,
    source_item_network         text collate "C" not null,
    source_item_domain          text collate "C" not null,
    source_item_type            text collate "C" not null,
    source_item_id              uuid not null,
    source_item_instance_url    text not null,
    source_item_owner           text collate "C",
    target_item_network         text collate "C" not null,
    target_item_domain          text collate "C" not null,
    target_item_type            text collate "C" not null,
    target_item_id              uuid not null,
    target_item_instance_url    text not null,
    target_item_owner           text collate "C",
    requirements_snapshot       jsonb not null default '{}',
    remarks                     text,
    -- Whether the item lives on this instance, as decided when the event was stored: only then does its owner's id mean
    -- a user of ours.
    source_here                 boolean not null,
    target_here                 boolean not null,
    created_at                  timestamptz(3) not null,
    updated_at                  timestamptz(3) not null,
    version                     int not null,
    position                    bigint not null,
    primary key (partition_network, action_type, action_id)
) partition by list (partition_network);
