-- The contracts of this instance. The newest version is the one in force, in every process (CONTRACT 8.4).

-- What a contract is made from, once for all versions that are made from the same. `json`, not `jsonb`: user interfaces
-- read the order of keys.
create table contract_documents (
    digest    bytea primary key,
    documents json not null
);

create table contract_versions (
    version    bigint primary key,
    digest     bytea not null references contract_documents,
    -- When the refetch that made it began to read documents; null for a boot. Whoever asked before has been served by it.
    read_at    timestamptz,
    created_at timestamptz(3) not null default clock_timestamp()
);

-- One row: when the last refetch began, in whichever process.
create table contract_refetch (
    single   boolean primary key default true check (single),
    began_at timestamptz not null default '-infinity'
);
insert into contract_refetch default values;

-- Domains with items that an older contract may have split otherwise than the one in force (CONTRACT 8.6). A row comes in
-- the commit that puts the contract in force, and goes when every item has been split again: until then readers hide what
-- has become private.
create table contract_resplits (
    network      text not null,
    domain       text not null,
    -- The contract that asks for it.
    version      bigint not null,
    since        timestamptz not null default clock_timestamp(),
    -- Position up to which the log has been looked through.
    swept        bigint not null default 0,
    -- Whoever works on it is left alone until then.
    leased_until timestamptz not null default '-infinity',
    primary key (network, domain)
) with (fillfactor = 50);
