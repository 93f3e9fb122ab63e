//! Checks of the log itself, in one snapshot: positions and versions are dense, heads point at the last events, and peers
//! are owed exactly what the log says, in its order.

use tokio_postgres::Transaction;

use crate::verify::{Difference, LISTED};

/// Each check lists what is wrong as (subject, what). `$1` is the network.
const CHECKS: &[(&str, &str)] = &[
    (
        "event_log",
        "select format('position %s', e.position), format('follows %s', e.before)
           from (select position, lag(position, 1, 0::bigint) over (order by position) as before
                   from event_log where network = $1) as e
          where e.position <> e.before + 1",
    ),
    (
        "event_log",
        "select format('position %s', e.position), 'is recorded before its predecessor'
           from (select position, recorded_at, lag(recorded_at) over (order by position) as before
                   from event_log where network = $1) as e
          where e.recorded_at < e.before",
    ),
    (
        "event_log",
        "select format('stream %s', e.stream_id), format('position %s is version %s, expected %s', e.position, e.version, e.rank)
           from (select stream_id, position, version,
                        row_number() over (partition by stream_id order by position) as rank
                   from event_log where network = $1) as e
          where e.version <> e.rank",
    ),
    (
        "log_head",
        "select 'position', format('is %s, the last event is %s', h.position, l.position)
           from log_head h
          cross join (select coalesce(max(position), 0) as position from event_log where network = $1) as l
          where h.network = $1 and h.position <> l.position",
    ),
    (
        "stream_heads",
        "select format('stream %s', coalesce(h.stream_id, e.stream_id)),
                case when h.stream_id is null then 'is missing' when e.stream_id is null then 'has no events'
                     else 'is not at the last event' end
           from (select stream_id, max(version) as version, max(position) as position, min(position) as first_position,
                        bool_or(event_type = 'item.deleted') as closed,
                        min(split_part(event_type, '.', 1)) as type
                   from event_log where network = $1 group by stream_id) as e
           full join (select * from stream_heads where network = $1) as h on h.stream_id = e.stream_id
          where (h.version, h.position, h.first_position, not h.open, h.type)
                is distinct from (e.version, e.position, e.first_position, e.closed, e.type)",
    ),
    (
        "outbox",
        "select format('%s seq %s', o.destination, o.seq),
                case when o.seq <> o.rank then format('is number %s', o.rank)
                     when o.position <= o.before then 'is out of the log''s order'
                     when e.position is null then format('points at position %s, which is not there', o.position)
                     else format('points at position %s, which is not owed to anybody', o.position) end
           from (select destination, seq, position,
                        row_number() over (partition by destination order by seq) as rank,
                        lag(position) over (partition by destination order by seq) as before
                   from outbox where network = $1) as o
           left join event_log e on e.network = $1 and e.position = o.position
          where o.seq <> o.rank or o.position <= o.before or e.position is null
             or e.event_type not in ('action.performed', 'action.status_updated')
             or e.payload -> 'action' ->> 'source_here' is distinct from 'false'",
    ),
    (
        "outbox",
        "select format('position %s', e.position), format('is owed to a peer and is there %s times', coalesce(o.times, 0))
           from event_log e
           left join (select position, count(*) as times from outbox where network = $1 group by position) as o
             on o.position = e.position
          where e.network = $1 and e.event_type in ('action.performed', 'action.status_updated')
            and e.payload -> 'action' ->> 'source_here' = 'false' and o.times is distinct from 1",
    ),
    (
        "outbox_heads",
        "select coalesce(h.destination, o.destination),
                format('says %s, the last is %s', coalesce(h.seq, 0), coalesce(o.seq, 0))
           from (select destination, max(seq) as seq from outbox where network = $1 group by destination) as o
           full join (select destination, seq from outbox_heads where network = $1) as h
             on h.destination = o.destination
          where h.seq is distinct from o.seq",
    ),
];

pub(crate) async fn check(snapshot: &Transaction<'_>, network: &str) -> Result<Vec<Difference>, tokio_postgres::Error> {
    let mut differences = Vec::new();
    for (place, sql) in CHECKS {
        let rows = snapshot.query(&format!("{sql} limit {LISTED}"), &[&network]).await?;
        for row in &rows {
            differences.push(Difference::of(place, network, row)?);
        }
    }
    Ok(differences)
}
