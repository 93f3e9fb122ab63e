use std::time::{Duration, Instant};

use dpg_eventstore::Appended;
use dpg_projector::Projection;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{NETWORK, TestProjector, item_created};

/// Writes items of about 1 KB straight into the log, as the append would.
async fn write(test: &TestProjector, from: i64, count: i64) {
    let sql = format!(
        "insert into event_log (network, position, stream_id, version, event_id, event_type, recorded_at, payload, metadata)
         select '{NETWORK}', n, id, 1, gen_random_uuid(), 'item.created', now(),
                jsonb_build_object('item_network', '{NETWORK}', 'item_domain', 'student', 'item_type', 'profile_1.0',
                    'item_id', id, 'item_instance_url', 'https://a.example.org',
                    'item_schema_url', 'https://a.example.org/api/v1/network/schema/yellow_dot/student/profile_1.0',
                    'item_state', jsonb_build_object('name', 'Asha ' || n, 'city', 'City ' || n % 500, 'about', repeat(md5(n::text), 16),
                        'experience_years', n % 30, 'tags', jsonb_build_array('a' || n % 7, 'b' || n % 11)),
                    'item_latitude', n % 80, 'item_longitude', n % 170, 'created_by', md5((n % 5000)::text)), '{{}}'
           from (select n, gen_random_uuid() as id from generate_series({from} + 1, {from} + {count}) as n) as e;
         insert into stream_heads select stream_id, network, 'item', 1, position, position, true from event_log
          where network = '{NETWORK}' and position > {from};
         update log_head set position = {from} + {count} where network = '{NETWORK}'"
    );
    test.run(&sql).await;
}

/// The rate is printed, and asserted only as far as the slowest machine must reach it.
#[tokio::test]
async fn twenty_thousand_items_are_folded() {
    let test = TestProjector::new().await;
    test.won(item_created(Uuid::now_v7(), "student", &json!({}))).await;
    test.catch_up_all().await;
    write(&test, 1, 20_000).await;
    for projection in Projection::ALL {
        let began = Instant::now();
        test.catch_up(projection).await;
        let rate = 20_000.0 / began.elapsed().as_secs_f64();
        println!("{projection}: {rate:.0} events/s");
        assert!(rate > 1_000.0);
    }
    assert_eq!(test.count("select count(*) from items_live.items").await, 20_001);
    let began = Instant::now();
    test.assert_clean().await;
    println!("verified in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projection_follows_a_thousand_writes_a_second() {
    let test = TestProjector::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (projector, stop) = (test.projector.clone(), stop.clone());
        async move { projector.run(stop).await }
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut writers = Vec::new();
    for n in 0..3_000 {
        ticks.tick().await;
        let appender = test.appender.clone();
        let state = json!({"name": n, "about": "x".repeat(600)});
        writers.push(tokio::spawn(async move {
            appender.append(NETWORK, item_created(Uuid::now_v7(), "student", &state)).await.unwrap();
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(test.readers.wait(NETWORK, 3_000, &Projection::ALL, Duration::from_secs(10)).await);
    stop.cancel();
    running.await.unwrap();
    let metrics = prometheus::TextEncoder::new().encode_to_string(&test.registry.gather()).unwrap();
    for line in metrics.lines().filter(|line| line.starts_with("dpg_projection_lag_seconds")) {
        println!("{line}");
    }
    test.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_read_their_writes() {
    const EACH: u32 = 100;
    let test = TestProjector::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (projector, stop) = (test.projector.clone(), stop.clone());
        async move { projector.run(stop).await }
    });
    let began = Instant::now();
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (appender, readers) = (test.appender.clone(), test.readers.clone());
            tokio::spawn(async move {
                for n in 0..EACH {
                    let state = json!({"name": n, "about": "x".repeat(600)});
                    let created = item_created(Uuid::now_v7(), "student", &state);
                    let Appended::Won { position, .. } = appender.append(NETWORK, created).await.unwrap() else {
                        panic!("a new item conflicts");
                    };
                    let waited = Duration::from_secs(10);
                    assert!(readers.wait(NETWORK, position.unwrap(), &[Projection::Items], waited).await);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    println!("{:.0} writes/s, each projected", f64::from(64 * EACH) / began.elapsed().as_secs_f64());
    stop.cancel();
    running.await.unwrap();
    assert_eq!(test.count("select count from items_live.item_counts").await, i64::from(64 * EACH));
}
