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
    id         uuid primary key,
    -- SHA-256 of the token; the token itself is never stored.
    token_hash bytea not null unique,
    user_id    text not null references users (id) on delete cascade,
    expires_at timestamptz(3) not null,
    -- False for `rememberMe: false`: one day and no extension.
    extends    boolean not null,
    created_at timestamptz(3) not null default now(),
    -- Also the time of the last extension.
    updated_at timestamptz(3) not null default now()
);
create index sessions_user on sessions (user_id);
create index sessions_expiry on sessions (expires_at);

-- One row per identifier (e-mail or phone number): the last code that was asked for, until it is used.
create table one_time_codes (
    identifier text primary key,
    -- HMAC-SHA256 over identifier and code.
    code_hash  bytea not null,
    expires_at timestamptz not null,
    -- Guesses so far; a code that has had its five is void.
    attempts   int not null default 0,
    created_at timestamptz not null default now()
);
create index one_time_codes_expiry on one_time_codes (expires_at);

-- The calls that still count against a limit of CONTRACT 1.11, oldest first. One row per subject, so that its lock makes
-- parallel calls count one by one.
create table rate_windows (
    scope   text not null,
    subject text not null,
    calls   timestamptz[] not null,
    primary key (scope, subject)
);

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
    -- Milliseconds.
    rate_limit_time_window bigint not null default 3600000,
    expires_at             timestamptz(3),
    metadata               jsonb,
    created_at             timestamptz(3) not null default now(),
    updated_at             timestamptz(3) not null default now()
);
create index api_keys_user on api_keys (user_id);

-- What a key has called: the running second, and the sum of its rolling window. A row of its own, so that counting never
-- waits for somebody who changes the key, and without a foreign key, whose lock could make a deadlock with a deletion.
create table api_key_usage (
    key_id        text primary key,
    -- Unix time of the running second.
    second        bigint not null default 0,
    calls         int not null default 0,
    -- Calls in the window, the running second included.
    window_calls  bigint not null default 0,
    -- Calls ever.
    request_count bigint not null default 0,
    last_request  timestamptz(3)
) with (fillfactor = 50);

-- The seconds of the window that are over.
create table api_key_calls (
    key_id text not null,
    second bigint not null,
    calls  int not null,
    primary key (key_id, second)
);

-- Checks a batch of API keys and counts their calls: `p_calls` of `p_hashes` at the same place are asked for, as many as
-- the key's limit leaves are admitted. A key that is unknown, disabled, expired or of a banned user has no row in the
-- answer. `retry_after` is in seconds and null when all calls were admitted.
--
-- One autocommit statement. The lock comes first and alone, so that the next statement sees what others have counted. The
-- commit need not be durable: a crash forgets less than a second of calls. The settings pin the plans as in append().
create function admit_api_key_calls(p_hashes text[], p_calls int[])
returns table (key_hash text, user_id text, role text, admitted int, retry_after bigint)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    ids      text[];
    locked   int;
    this_second bigint;
begin
    perform set_config('synchronous_commit', 'off', true);

    select coalesce(array_agg(k.id order by k.id), '{}') into ids from api_keys k where k.key_hash = any (p_hashes);
    perform from api_key_usage u where u.key_id = any (ids) order by u.key_id for update;
    get diagnostics locked = row_count;
    if locked < cardinality(ids) then
        insert into api_key_usage (key_id) select id from unnest(ids) as id order by id on conflict do nothing;
        perform from api_key_usage u where u.key_id = any (ids) order by u.key_id for update;
    end if;
    this_second := floor(extract(epoch from clock_timestamp()));

    -- Once a second and key: the second that is over joins the window, and what is older than the window leaves it.
    if exists (select from api_key_usage u where u.key_id = any (ids) and u.second < this_second) then
        with over as (
            select u.key_id, u.second, u.calls,
                   this_second - greatest(1, (k.rate_limit_time_window + 999) / 1000) as horizon
              from api_key_usage u join api_keys k on k.id = u.key_id
             where u.key_id = any (ids) and u.second < this_second
        ), kept as (
            insert into api_key_calls (key_id, second, calls)
            select o.key_id, o.second, o.calls from over o where o.calls > 0 and o.second > o.horizon
        ), left_window as (
            delete from api_key_calls c using over o
             where c.key_id = o.key_id and c.second <= o.horizon
            returning c.key_id, c.calls
        )
        update api_key_usage u
           set second = this_second, calls = 0,
               window_calls = u.window_calls
                              - coalesce((select sum(l.calls) from left_window l where l.key_id = u.key_id), 0)
                              - case when o.second > o.horizon then 0 else o.calls end
          from over o where u.key_id = o.key_id;
    end if;

    return query
    with asked as (
        select k.id, k.key_hash, k.user_id, p.role, a.calls,
               least(a.calls, greatest(0, k.rate_limit_max - u.window_calls))::int as admitted,
               greatest(1, (k.rate_limit_time_window + 999) / 1000) as window_seconds
          from unnest(p_hashes, p_calls) as a (key_hash, calls)
          join api_keys k on k.key_hash = a.key_hash
          join users p on p.id = k.user_id
          join api_key_usage u on u.key_id = k.id
         where k.enabled and (k.expires_at is null or k.expires_at > now())
           and not (p.banned and (p.ban_expires is null or p.ban_expires > now()))
    ), counted as (
        update api_key_usage u
           set calls = u.calls + a.admitted, window_calls = u.window_calls + a.admitted,
               request_count = u.request_count + a.admitted, last_request = clock_timestamp()
          from asked a where u.key_id = a.id and a.admitted > 0
    )
    select a.key_hash, a.user_id, a.role, a.admitted,
           case when a.admitted < a.calls then
               greatest(1, coalesce((select min(c.second) from api_key_calls c where c.key_id = a.id), this_second)
                           + a.window_seconds - this_second)
           end
      from asked a;
end
$$;
