//! Every SQL statement of authentication.

/// The columns of [`super::users::User`], of a table or alias `u`.
macro_rules! user_columns {
    () => {
        "u.id, u.name, u.email, u.email_verified, u.image, u.created_at, u.updated_at, u.role, u.banned, u.ban_reason, \
         u.ban_expires, u.phone_number, u.phone_number_verified, u.date_of_birth, u.terms_accepted, \
         u.privacy_accepted, (u.banned and (u.ban_expires is null or u.ban_expires > now())) as barred"
    };
}

/// The columns of [`super::keys::ApiKey`]: `k` is the key, `s` its usage.
macro_rules! key_columns {
    () => {
        "k.id, k.name, k.start, k.prefix, k.user_id, k.enabled, k.rate_limit_max, k.rate_limit_time_window, \
         coalesce(s.request_count, 0) as request_count, s.last_request, k.expires_at, k.metadata, k.created_at, \
         k.updated_at"
    };
}

// Users.

pub(super) const USER_BY_ID: &str = concat!("select ", user_columns!(), " from users u where u.id = $1");

pub(super) const USER_BY_EMAIL: &str =
    concat!("select ", user_columns!(), " from users u where lower(u.email) = $1 for no key update");

pub(super) const USER_BY_PHONE: &str =
    concat!("select ", user_columns!(), " from users u where u.phone_number = $1 for no key update");

pub(super) const EMAIL_IS_KNOWN: &str = "select exists (select from users where lower(email) = $1)";

pub(super) const PHONE_IS_KNOWN: &str = "select exists (select from users where phone_number = $1)";

/// Gives no row when somebody else made a user with the same identifier meanwhile.
pub(super) const CREATE_USER: &str = concat!(
    "insert into users as u (id, name, email, phone_number, role, date_of_birth, terms_accepted, privacy_accepted) \
     values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict do nothing returning ",
    user_columns!()
);

/// Gives a row the first time only.
pub(super) const VERIFY_EMAIL: &str = concat!(
    "update users u set email_verified = true, updated_at = now() where u.id = $1 and not u.email_verified returning ",
    user_columns!()
);

pub(super) const VERIFY_PHONE: &str = concat!(
    "update users u set phone_number_verified = true, updated_at = now() \
     where u.id = $1 and not u.phone_number_verified returning ",
    user_columns!()
);

// Passwords.

pub(super) const STORE_PASSWORD: &str = "insert into password_credentials (user_id, hash) values ($1, $2)";

pub(super) const PASSWORD_BY_EMAIL: &str = concat!(
    "select ",
    user_columns!(),
    ", p.hash as password_hash from users u left join password_credentials p on p.user_id = u.id \
      where lower(u.email) = $1"
);

/// The lock makes the first proof of the e-mail wait for the session that is about to start, and revoke it.
pub(super) const HOLD_PASSWORD: &str = "select from password_credentials where user_id = $1 and hash = $2 for share";

pub(super) const DELETE_PASSWORD: &str = "delete from password_credentials where user_id = $1";

pub(super) const DELETE_SESSIONS_OF_USER: &str = "delete from sessions where user_id = $1";

pub(super) const DELETE_KEYS_OF_USER: &str = "delete from api_keys where user_id = $1";

// Sessions.

pub(super) const CREATE_SESSION: &str = "insert into sessions (id, token_hash, user_id, expires_at, extends) \
     values ($1, $2, $3, now() + make_interval(secs => $4), $5)";

/// For the shared probe: one row per live session.
pub(super) const LIVE_SESSIONS: &str = "select s.token_hash, s.user_id, u.role, \
            s.extends and s.updated_at < now() - interval '1 day' as extension_due \
       from sessions s join users u on u.id = s.user_id \
      where s.token_hash = any ($1) and s.expires_at > now() \
        and not (u.banned and (u.ban_expires is null or u.ban_expires > now()))";

pub(super) const SESSION_WITH_USER: &str = concat!(
    "select s.id as session_id, s.expires_at as session_expires_at, s.created_at as session_created_at, \
            s.updated_at as session_updated_at, s.extends as session_extends, ",
    user_columns!(),
    " from sessions s join users u on u.id = s.user_id \
      where s.token_hash = $1 and s.expires_at > now() \
        and not (u.banned and (u.ban_expires is null or u.ban_expires > now()))"
);

pub(super) const EXTEND_SESSION: &str = "update sessions \
        set expires_at = now() + make_interval(secs => $2), updated_at = now() \
      where token_hash = $1 and extends and updated_at < now() - interval '1 day' and expires_at > now()";

/// The lock makes a revocation wait for what is done in the session's name, and undo it.
pub(super) const HOLD_SESSION: &str =
    "select from sessions where token_hash = $1 and user_id = $2 and expires_at > now() for share";

pub(super) const DELETE_SESSION: &str = "delete from sessions where token_hash = $1";

// One-time codes.

pub(super) const STORE_CODE: &str = "insert into one_time_codes (identifier, code_hash, expires_at) \
     values ($1, $2, now() + make_interval(secs => $3)) \
     on conflict (identifier) do update \
        set code_hash = excluded.code_hash, expires_at = excluded.expires_at, attempts = 0, created_at = now()";

/// Only if no newer code has taken its place.
pub(super) const VOID_CODE: &str = "delete from one_time_codes where identifier = $1 and code_hash = $2";

/// Counts a guess. The row's lock makes parallel guesses wait for each other. Gives no row when there is no live code.
pub(super) const COUNT_GUESS: &str = "update one_time_codes set attempts = attempts + 1 \
      where identifier = $1 and attempts < $2 and expires_at > now() returning code_hash";

pub(super) const CONSUME_CODE: &str = "delete from one_time_codes where identifier = $1";

// Rate windows.

/// Counts a call unless the window is full; then nothing changes and no row comes back.
pub(super) const COUNT_CALL: &str = "insert into rate_windows as w (scope, subject, calls) \
     values ($1, $2, array[clock_timestamp()]) \
     on conflict (scope, subject) do update \
        set calls = coalesce((select array_agg(c order by c) from unnest(w.calls) as c \
                               where c > clock_timestamp() - make_interval(secs => $3)), '{}') || clock_timestamp() \
      where (select count(*) from unnest(w.calls) as c \
              where c > clock_timestamp() - make_interval(secs => $3)) < $4 \
     returning true";

/// In how many seconds the oldest call leaves the window.
pub(super) const WINDOW_OPENS_IN: &str = "select ceil(extract(epoch from min(c) - clock_timestamp()) + $3::float8)::bigint \
       from rate_windows w, unnest(w.calls) as c \
      where w.scope = $1 and w.subject = $2 and c > clock_timestamp() - make_interval(secs => $3)";

// API keys.

/// For the shared probe; see the function in the migration.
pub(super) const ADMIT_KEY_CALLS: &str =
    "select key_hash, user_id, role, admitted, retry_after from admit_api_key_calls($1, $2)";

pub(super) const CREATE_KEY: &str = concat!(
    "with k as (insert into api_keys (id, name, start, prefix, key_hash, user_id, expires_at, metadata) \
                values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7), $8) returning *) \
     select ",
    key_columns!(),
    " from k left join api_key_usage s on s.key_id = k.id"
);

pub(super) const KEYS_OF_USER: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k left join api_key_usage s on s.key_id = k.id where k.user_id = $1 order by k.created_at, k.id"
);

/// What the key has used goes with it; what a call in flight leaves behind is pruned.
pub(super) const DELETE_KEY: &str = "with gone as (delete from api_keys where id = $1 and user_id = $2 returning id), \
          usage as (delete from api_key_usage where key_id in (select id from gone)), \
          calls as (delete from api_key_calls where key_id in (select id from gone)) \
     select id from gone";

// Pruning.

pub(super) const PRUNE: [&str; 5] = [
    "delete from sessions where expires_at <= now()",
    "delete from one_time_codes where expires_at <= now()",
    // The longest window is a quarter of an hour; the last element is the newest call.
    "delete from rate_windows where calls[array_upper(calls, 1)] < now() - interval '1 hour'",
    "delete from api_key_usage s where not exists (select from api_keys k where k.id = s.key_id)",
    "delete from api_key_calls c where not exists (select from api_keys k where k.id = c.key_id)",
];
