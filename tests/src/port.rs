//! Ports that stay ours. They are taken below the range that the kernel gives to outgoing connections, so that a port is
//! still free when the process that had it is started again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 15_000;
const COUNT: u32 = 16_000;

/// Ports of a run that has them to itself, so that several runs on one machine keep apart.
const PER_RUN: u32 = 1_600;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on which nothing listens, given out once per process.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn free() -> u16 {
    let (first, count) = range();
    let offset = std::process::id().wrapping_mul(97);
    for _ in 0..count {
        let number = first + offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(number).expect("the range is below 65536");
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {first} and {}", first + count);
}

/// `DPG_TEST_LANE`, 0 to 9, picks a tenth of the ports; without it they are all ours.
fn range() -> (u32, u32) {
    let lane: Option<u32> = std::env::var("DPG_TEST_LANE").ok().and_then(|text| text.parse().ok());
    lane.filter(|lane| *lane < COUNT / PER_RUN).map_or((FIRST, COUNT), |lane| (FIRST + lane * PER_RUN, PER_RUN))
}

/// The URL of a port of this machine.
#[must_use]
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
