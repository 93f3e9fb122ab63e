//! The page cache without Redis, and what it takes from one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tokio::sync::Semaphore;

use super::sealed::HEADER;
use super::*;

const LIVES: Duration = Duration::from_secs(60);

fn seal() -> Seal {
    Seal::new("test", "a secret of ours").unwrap()
}

fn pages() -> Pages {
    Pages::new(None, seal(), CacheMetrics::register(&prometheus::Registry::new()).unwrap())
}

fn key(number: u32) -> PageKey {
    PageKey::of("test", json!(number))
}

/// Makes a page, and counts that.
fn made(calls: &AtomicUsize, text: &'static str, keep: Keep) -> Made {
    calls.fetch_add(1, Ordering::SeqCst);
    Made { answer: Answer::new(text), keep }
}

#[tokio::test]
async fn a_page_is_made_once_and_found_after_that() {
    let (pages, calls) = (pages(), AtomicUsize::new(0));
    for expected in [Source::Miss, Source::Hit, Source::Hit] {
        let make = async { Ok::<_, Infallible>(made(&calls, "page", Keep::InProcess(LIVES))) };
        let served = pages.get_or_make(key(1), make).await.unwrap();
        assert_eq!((served.source, &served.answer), (expected, &Answer::new("page")));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_made_each_time() {
    let partial = Answer { partial: true, ..Answer::new("partial") };
    let long = Answer::new(vec![b'x'; 1024 * 1024 + 1]);
    let cases = [
        Made { answer: Answer::new("page"), keep: Keep::Not },
        Made { answer: partial, keep: Keep::Everywhere(LIVES) },
        Made { answer: long, keep: Keep::Everywhere(LIVES) },
    ];
    let (pages, calls) = (pages(), AtomicUsize::new(0));
    for (number, case) in (0..).zip(cases) {
        for _ in 0..2 {
            let make = async {
                calls.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(case.clone())
            };
            let served = pages.get_or_make(key(number), make).await.unwrap();
            assert_eq!((served.source, served.answer), (Source::Bypass, case.answer.clone()));
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn those_who_miss_together_wait_for_one() {
    for (keep, others) in [(Keep::InProcess(LIVES), Source::Hit), (Keep::Not, Source::Bypass)] {
        let (pages, calls, gate) = (pages(), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let (pages, calls, gate) = (pages.clone(), Arc::clone(&calls), Arc::clone(&gate));
            let make = async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(made(&calls, "page", keep))
            };
            tasks.push(tokio::spawn(async move { pages.get_or_make(key(1), make).await.unwrap() }));
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        let mut sources = Vec::new();
        for task in tasks {
            let served = task.await.unwrap();
            assert_eq!(served.answer, Answer::new("page"));
            sources.push(served.source);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(sources.iter().filter(|source| **source == others).count() >= 49, "{sources:?}");
    }
}

#[tokio::test]
async fn an_error_reaches_all_who_wait_and_is_not_kept() {
    let pages = pages();
    let failed = pages.get_or_make(key(1), async { Err::<Made, _>("away") }).await;
    assert_eq!(failed.unwrap_err(), "away");
    let calls = AtomicUsize::new(0);
    let make = async { Ok::<_, &str>(made(&calls, "page", Keep::InProcess(LIVES))) };
    assert_eq!(pages.get_or_make(key(1), make).await.unwrap().source, Source::Miss);
}

#[tokio::test]
async fn a_maker_who_goes_away_is_replaced() {
    let (pages, calls) = (pages(), AtomicUsize::new(0));
    let gone = tokio::spawn({
        let pages = pages.clone();
        async move { pages.get_or_make(key(1), std::future::pending::<Result<Made, &str>>()).await.unwrap() }
    });
    tokio::task::yield_now().await;
    let make = async { Ok::<_, &str>(made(&calls, "page", Keep::InProcess(LIVES))) };
    let waiting = pages.get_or_make(key(1), make);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    gone.abort();
    assert_eq!(waiting.await.unwrap().answer, Answer::new("page"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_page_is_opened_only_where_it_was_sealed_and_until_it_ends() {
    let answer = Answer { version: Some(7), ..Answer::new("page") };
    let sealed = seal().seal("place", &answer, LIVES);
    let (opened, left) = seal().open("place", sealed.clone()).unwrap();
    assert_eq!(opened, answer);
    assert!(left <= LIVES && !left.is_zero());
    assert!(seal().open("elsewhere", sealed.clone()).is_none());
    assert!(Seal::new("test", "another secret").unwrap().open("place", sealed).is_none());
    assert!(seal().open("place", seal().seal("place", &answer, Duration::ZERO)).is_none());
}

#[test]
fn instances_have_places_of_their_own() {
    let digest = key(1).digest;
    assert_eq!(seal().place(&digest).len(), "dpg:test:page:".len() + 64);
    assert_ne!(seal().place(&digest), Seal::new("other", "a secret of ours").unwrap().place(&digest));
}

proptest! {
    #[test]
    fn garbage_is_no_page(value in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(seal().open("place", value).is_none());
    }

    #[test]
    fn a_tampered_page_is_no_page(body in ".{0,80}", at in any::<prop::sample::Index>(), bit in 0..8_u32, cut in any::<bool>()) {
        let mut sealed = seal().seal("place", &Answer::new(body), LIVES);
        prop_assert!(sealed.len() >= HEADER);
        let at = at.index(sealed.len());
        if cut { sealed.truncate(at) } else { sealed[at] ^= 1 << bit }
        prop_assert!(seal().open("place", sealed).is_none());
    }
}
