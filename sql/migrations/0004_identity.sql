-- Who may write. Ordinary tables: secrets have no place in an immutable log.

create table users (
    id                    text primary key,
    name                  text not null,
    email                 text,
    email_verified        boolean not null default false,
    phone_number          text unique,
    phone_number_verified boolean not null default false,
    image                 text,
    role                  text not null default 'user' check (role in ('user', 'admin')),
    banned                boolean not null default false,
    ban_reason            text,
    ban_expires           timestamptz(3),
    date_of_birth         date,
    terms_accepted        boolean not null default false,
    privacy_accepted      boolean not null default false,
    created_at            timestamptz(3) not null default now(),
    updated_at            timestamptz(3) not null default now()
);
create unique index users_email on users (lower(email));

-- Argon2id; no row means that the user has no password.
create table password_credentials (
    user_id    text primary key references users (id) on delete cascade,
    hash       text not null,
    updated_at timestamptz(3) not null default now()
);

create table sessions (
    id          uuid primary key,
    -- SHA-256 of the token; the token itself is never stored.
    token_hash  bytea not null unique,
    user_id     text not null references users (id) on delete cascade,
    expires_at  timestamptz(3) not null,
    -- False for `rememberMe: false`: one day and no extension.
    extends     boolean not null,
    ip_address  text not null default '',
    user_agent  text not null default '',
    created_at  timestamptz(3) not null default now(),
    updated_at  timestamptz(3) not null default now()
);
create index sessions_user on sessions (user_id);
create index sessions_expiry on sessions (expires_at);

-- One row per identifier (e-mail or phone number): the last code that was asked for.
create table one_time_codes (
    identifier text primary key,
    code_hash  bytea not null,
    expires_at timestamptz not null,
    -- Wrong guesses so far; the fifth voids the code.
    attempts   int not null default 0,
    consumed   boolean not null default false,
    created_at timestamptz not null default now()
);

-- When codes were asked for, per identifier: the limit of CONTRACT 1.11.
create table one_time_code_requests (
    identifier   text not null,
    requested_at timestamptz not null default now()
);
create index one_time_code_requests_recent on one_time_code_requests (identifier, requested_at);

create table api_keys (
    id                     text primary key,
    name                   text not null,
    start                  text not null,
    prefix                 text not null,
    -- base64url(SHA-256(key)), unpadded.
    key_hash               text not null unique,
    user_id                text not null references users (id) on delete cascade,
    enabled                boolean not null default true,
    rate_limit_max         int not null default 10000,
    rate_limit_time_window bigint not null default 3600000,
    request_count          bigint not null default 0,
    last_request           timestamptz(3),
    expires_at             timestamptz(3),
    metadata               jsonb,
    created_at             timestamptz(3) not null default now(),
    updated_at             timestamptz(3) not null default now()
);
create index api_keys_user on api_keys (user_id);

-- Calls per key and second, for the rolling limit; pruned with the window.
create table api_key_calls (
    key_id text not null references api_keys (id) on delete cascade,
    second bigint not null,
    calls  int not null,
    primary key (key_id, second)
) with (fillfactor = 50);
