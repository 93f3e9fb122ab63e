//! Which addresses an outgoing call may reach. In production private, loopback and link-local addresses are refused,
//! written as such or got from a name at the moment of connecting, so that a contract or a changed DNS record can't turn
//! this server against its own network (CONTRACT 2.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// An entry of `PEER_ALLOW_PRIVATE` that is neither a CIDR block, an address nor a host name.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a CIDR block nor a host name")]
pub struct AllowError(pub String);

/// The address is not one that outgoing calls may reach.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no address that outgoing calls may reach")]
pub struct RefusedAddress(pub String);

/// The rule. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    rule: Arc<Rule>,
}

#[derive(Debug)]
enum Rule {
    Open,
    PublicOnly { blocks: Vec<IpNet>, hosts: Vec<String> },
}

impl Guard {
    /// Every address may be reached: development.
    #[must_use]
    pub fn open() -> Self {
        Self { rule: Arc::new(Rule::Open) }
    }

    /// Public addresses, and those private ones that `allow` names by CIDR block, address or host name.
    ///
    /// # Errors
    /// [`AllowError`] for the first entry that can't be read.
    pub fn public_only<'a>(allow: impl IntoIterator<Item = &'a str>) -> Result<Self, AllowError> {
        let (mut blocks, mut hosts) = (Vec::new(), Vec::new());
        for entry in allow.into_iter().map(str::trim).filter(|entry| !entry.is_empty()) {
            if let Ok(block) = entry.parse::<IpNet>() {
                blocks.push(block);
            } else if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
                blocks.push(IpNet::from(address));
            } else {
                match Host::parse(entry) {
                    Ok(Host::Domain(host)) if !entry.contains('/') => hosts.push(plain(&host)),
                    _ => return Err(AllowError(entry.to_owned())),
                }
            }
        }
        Ok(Self { rule: Arc::new(Rule::PublicOnly { blocks, hosts }) })
    }

    /// Checks a URL whose host is an address: those never reach the resolver.
    ///
    /// # Errors
    /// [`RefusedAddress`] when it may not be reached.
    pub fn check_literal(&self, url: &Url) -> Result<(), RefusedAddress> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.allows("", address) { Ok(()) } else { Err(RefusedAddress(address.to_string())) }
    }

    /// Whether `host`, which is or resolved to `address`, may be reached there.
    #[must_use]
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        match &*self.rule {
            Rule::Open => true,
            Rule::PublicOnly { blocks, hosts } => {
                let address = address.to_canonical();
                is_public(address)
                    || blocks.iter().any(|block| block.contains(&address))
                    || hosts.contains(&plain(host))
            }
        }
    }
}

/// Host names are compared without case and without the dot of the root.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Resolves as the system does and drops what may not be reached. What is left is what gets connected to, so a name
/// can't answer differently between check and use.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let allowed: Vec<SocketAddr> =
                tokio::net::lookup_host((host, 0)).await?.filter(|address| guard.allows(host, address.ip())).collect();
            if allowed.is_empty() {
                return Err(RefusedAddress(host.to_owned()).into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocols = (a, b, c) == (192, 0, 0);
    !(a == 0
        || a >= 224
        || shared
        || benchmark
        || protocols
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local())
}

/// Global unicast addresses, and the forms of them that carry an IPv4 address to a translator or a tunnel: the
/// well-known NAT64 prefix and 6to4. Everything else of IPv6 leads nowhere or to somebody's own network.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        // Teredo hides the address that it carries.
        [0x2001, 0, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_loopback_and_link_local_are_refused_in_every_spelling() {
        let guard = Guard::public_only([]).unwrap();
        for literal in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::10.0.0.1]",
            "[64:ff9b:1:a00:0:100::]",
            "[::ffff:0:127.0.0.1]",
            "[2001:0:5ef5:79fd::f5ff:fffe]",
            "[100::1]",
            "192.0.0.8",
            "[2002:7f00:1::]",
            "[ff02::1]",
            "[fec0::1]",
        ] {
            let url = Url::parse(&format!("http://{literal}/")).unwrap();
            assert!(guard.check_literal(&url).is_err(), "{literal} was let through");
            assert!(Guard::open().check_literal(&url).is_ok());
        }
        for literal in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "[2001:4860:4860::8888]",
            "[64:ff9b::8.8.8.8]",
            "[2002:808:808::1]",
            "[::ffff:8.8.8.8]",
        ] {
            assert!(guard.check_literal(&Url::parse(&format!("http://{literal}/")).unwrap()).is_ok(), "{literal}");
        }
    }

    #[test]
    fn the_list_opens_blocks_addresses_and_hosts() {
        let guard = Guard::public_only(["10.0.0.0/8", " 192.168.1.7", "peer.internal", "", "fd00::/8"]).unwrap();
        let private: IpAddr = "192.168.9.9".parse().unwrap();
        assert!(guard.allows("x", "10.200.0.1".parse().unwrap()));
        assert!(guard.allows("x", "::ffff:10.0.0.1".parse().unwrap()));
        assert!(guard.allows("x", "192.168.1.7".parse().unwrap()));
        assert!(guard.allows("x", "fd12::1".parse().unwrap()));
        assert!(guard.allows("Peer.Internal.", private));
        assert!(!guard.allows("other.internal", private));
        for bad in ["10.0.0.0/99", "a b", "http://x/"] {
            assert!(Guard::public_only([bad]).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused() {
        let guard = Guard::public_only([]).unwrap();
        assert!(guard.resolve("localhost".parse().unwrap()).await.is_err());
        let allowed = Guard::public_only(["localhost"]).unwrap();
        assert!(allowed.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
