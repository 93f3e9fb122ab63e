//! Who is calling: the client's address behind trusted proxies (CONTRACT 1.1).

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR};
use ipnet::IpNet;

/// The client's address. `X-Forwarded-For` counts only on a connection from a trusted proxy, and there the right-most
/// address that is not itself a trusted proxy: what stands left of it is the client's own claim.
#[must_use]
pub fn client_address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    Some(forwarded_for(request.headers(), peer, trusted))
}

fn forwarded_for(headers: &HeaderMap, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).filter_map(|value| value.to_str().ok()).collect();
    let mut nearest = peer;
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !is_trusted(&nearest) {
            return nearest;
        }
        // An unreadable entry ends the chain of what trusted proxies vouch for.
        let Some(address) = address_in(entry.trim()) else { return nearest };
        nearest = address;
    }
    nearest
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address_in(entry: &str) -> Option<IpAddr> {
    let plain = entry.parse::<IpAddr>().ok();
    let with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    plain.or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}
