//! Pages over two and three instances: from the cache, and with the whole fan-out.

use std::sync::Arc;

use crate::create::fill;
use crate::figures::Figures;
use crate::instance::Instance;
use crate::load::{Requests, get, measure};
use crate::pages::{is_answer, is_miss, network_page, never_seen};

const ITEMS: usize = 10_000;

pub async fn run(admin: &str) {
    println!("network page of 20, {ITEMS} items on each instance");
    for count in [2, 3] {
        let instances = Instance::start_network(admin, count).await;
        for instance in &instances {
            fill(instance, ITEMS).await;
        }
        let asked = &instances[0];
        let page = get(&network_page(300, ITEMS - 10), None);
        let hits: Requests = Arc::new(move |_| page.clone());
        let misses = never_seen();
        for clients in [1, 16, 64] {
            let row = |what: &str, figures: Figures| {
                figures.row(&format!("{what}, {count} instances, {clients} clients"), "");
            };
            row("hit", measure(asked.port, clients, &hits, is_answer).await);
            // Sixty-four misses at a time is what a process allows itself.
            row("miss", measure(asked.port, clients.min(32), &misses, is_miss).await);
        }
    }
}
