-- A receiver's mark at the cost of what it moves over. Numbers that follow on the mark, as nearly all do, are kept nowhere.
-- What waits beyond a gap was looked through each time, with the head of the log locked: a peer that left one number out
-- and sent a million after it held everybody's writes up (CONTRACT 4.14a).

create or replace function mark_inbox(p_network text, p_origin text, p_destination text, p_epoch uuid, seqs bigint[])
returns bigint language plpgsql volatile as $$
declare
    mark bigint;
    before bigint;
    next bigint;
begin
    insert into inbox (origin, network, destination, epoch) values (p_origin, p_network, p_destination, p_epoch)
    on conflict do nothing;
    select i.high_water into mark from inbox i
     where (i.origin, i.network, i.destination, i.epoch) = (p_origin, p_network, p_destination, p_epoch) for update;
    before := mark;

    -- Numbers beyond the mark are dense as long as seq - rank stays equal to it.
    select coalesce(max(n.seq), mark) into mark
      from (select s as seq, row_number() over (order by s) as rank
              from (select distinct s from unnest(seqs) as s where s > before) as new) as n
     where n.seq = before + n.rank;
    insert into inbox_ahead (origin, network, destination, epoch, seq)
    select p_origin, p_network, p_destination, p_epoch, s from unnest(seqs) as s where s > mark
    on conflict do nothing;

    -- What came early, a hundred at a time: what waits beyond a gap must cost nothing.
    loop
        select max(a.seq) into next
          from (select seq, row_number() over (order by seq) as rank
                  from (select seq from inbox_ahead
                         where origin = p_origin and network = p_network and destination = p_destination
                           and epoch = p_epoch and seq > mark
                         order by seq limit 100) as nearest) as a
         where a.seq = mark + a.rank;
        exit when next is null;
        mark := next;
    end loop;

    if mark > before then
        delete from inbox_ahead a
         where (a.origin, a.network, a.destination, a.epoch) = (p_origin, p_network, p_destination, p_epoch) and a.seq <= mark;
        update inbox i set high_water = mark
         where (i.origin, i.network, i.destination, i.epoch) = (p_origin, p_network, p_destination, p_epoch);
    end if;
    return mark;
end $$;
