//! Ports that stay ours. They are taken below the range that the kernel gives to outgoing connections, so that a port is
//! still free when the process that had it is started again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 15_000;
const COUNT: u32 = 16_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on which nothing listens, given out once per process.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn free() -> u16 {
    let offset = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let number = FIRST + offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(number).expect("the range is below 65536");
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// The URL of a port of this machine.
#[must_use]
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
