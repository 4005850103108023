//! The client for addresses that other people chose: pages to crawl, receivers of webhooks. Only http and https; the address is checked after it is
//! resolved and again on each redirect, which callers follow themselves; private and loopback ranges are refused unless the configuration allows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url};

use crate::error::{Error, Result};

/// What may be reached.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

/// Ranges that are not the public internet, from the special-purpose registries of IANA for IPv4 and IPv6, multicast and reserved addresses.
const SPECIAL: [&str; 31] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// The IPv4 address that an IPv6 address carries: mapped, compatible, translated (RFC 6052), 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if high != 0 || low > 1 => Some(join(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

impl Guard {
    /// Reads what is allowed beside the public internet: networks (`10.0.0.0/8`), addresses and host names, separated by commas.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn read(allowed: &str) -> Result<Self> {
        let mut guard = Self::default();
        for word in allowed.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            if let Ok(network) = word.parse::<IpNet>() {
                guard.networks.push(network);
            } else if let Ok(address) = word.parse::<IpAddr>() {
                guard.networks.push(address.into());
            } else if word.contains('/') || word.contains(':') {
                return Err(Error::invalid(
                    "config_invalid",
                    format!(
                        "outgoing_allow: {word:?} is neither a network, nor an address, nor a host name"
                    ),
                ));
            } else {
                guard.hosts.push(word.to_lowercase());
            }
        }
        Ok(guard)
    }

    /// Whether an address may be reached.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        if self.networks.iter().any(|n| n.contains(&address)) {
            return true;
        }
        let inner = match address {
            IpAddr::V6(v6) => embedded(v6).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        if let Some(inner) = inner {
            return self.permits(inner);
        }
        let special = SPECIAL
            .iter()
            .filter_map(|range| range.parse::<IpNet>().ok());
        !special.into_iter().any(|range| range.contains(&address))
    }

    fn permits_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| h == host)
    }

    /// Checks what can be checked before a name is resolved: scheme, and hosts that are addresses. The client's resolver checks the rest.
    ///
    /// # Errors
    /// `address_refused`, with a sentence.
    pub fn check(&self, url: &Url) -> Result<()> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!(
                "{}: only http and https can be fetched",
                url.scheme()
            )));
        }
        let literal = match url.host() {
            Some(url::Host::Ipv4(v4)) => IpAddr::V4(v4),
            Some(url::Host::Ipv6(v6)) => IpAddr::V6(v6),
            Some(url::Host::Domain(_)) => return Ok(()),
            None => return Err(refused("the address has no host".to_owned())),
        };
        if self.permits(literal) || self.permits_host(url.host_str().unwrap_or_default()) {
            Ok(())
        } else {
            Err(refused(explain(&literal.to_string())))
        }
    }
}

fn explain(what: &str) -> String {
    format!("{what} is a private or reserved address; the setting outgoing_allow can permit it")
}

fn refused(message: String) -> Error {
    Error::unprocessable("address_refused", message)
}

/// A name resolved to nothing but refused addresses; found again in the error of a request.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().trim_end_matches('.').to_lowercase();
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let permitted: Vec<SocketAddr> = found
                .iter()
                .copied()
                .filter(|a| guard.permits_host(&host) || guard.permits(a.ip()))
                .collect();
            if let (true, Some(first)) = (permitted.is_empty(), found.first()) {
                tracing::info!(host, address = %first.ip(), "an outgoing request was refused");
                return Err(
                    Box::new(Refused(explain(&host))) as Box<dyn std::error::Error + Send + Sync>
                );
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The client and its guard.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Follows no redirect; [`Guard::check`] comes before each request.
    pub client: Client,
    /// What may be reached.
    pub guard: Guard,
}

/// Time for connecting.
const CONNECT: Duration = Duration::from_secs(10);

impl Outgoing {
    /// A client that reaches the public internet and what `allowed` names, and gives up after `silence`.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn new(allowed: &str, user_agent: &str, silence: Duration) -> Result<Self> {
        let guard = Guard::read(allowed)?;
        let client = Client::builder()
            .user_agent(user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(guard.clone()))
            // A proxy would resolve names where the guard cannot see it.
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(silence)
            .pool_max_idle_per_host(8)
            .build()
            .map_err(|e| {
                Error::invalid(
                    "config_invalid",
                    format!("the HTTP client cannot be built: {e}"),
                )
            })?;
        Ok(Self { client, guard })
    }
}

/// One sentence about a request that failed: the innermost cause, without the address.
#[must_use]
pub fn cause(error: &reqwest::Error) -> (&'static str, String) {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    let mut last = String::new();
    while let Some(inner) = source {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return ("address_refused", refused.0.clone());
        }
        last = inner.to_string();
        source = inner.source();
    }
    if error.is_timeout() {
        return ("timeout", "the server took too long".to_owned());
    }
    (
        "connection_failed",
        format!("the connection failed: {last}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_in_every_dress() {
        let guard = Guard::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
        ] {
            assert!(
                !guard.permits(address.parse().expect("an address")),
                "{address}"
            );
        }
        for address in ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(
                guard.permits(address.parse().expect("an address")),
                "{address}"
            );
        }
    }

    #[test]
    fn what_is_allowed_is_reached_and_nothing_else() {
        let guard = Guard::read("127.0.0.0/8, intranet.test,10.1.2.3").expect("readable");
        let ok = |url: &str| guard.check(&url.parse().expect("an address")).is_ok();
        assert!(ok("http://127.0.0.1:99/") && ok("http://10.1.2.3/") && ok("https://example.com/"));
        for refused in [
            "http://10.1.2.4/",
            "ftp://example.com/",
            "http://[::1]/",
            "http://0xa000001/",
            "http://192.168.0.1/",
        ] {
            assert!(!ok(refused), "{refused}");
        }
        assert_eq!(
            Guard::read("10.0.0.0/99").expect_err("no network").code(),
            "config_invalid"
        );
    }

    #[tokio::test]
    async fn names_of_private_addresses_are_refused_when_they_are_resolved() {
        let outgoing = Outgoing::new("", "test", CONNECT).expect("a client");
        let error = outgoing
            .client
            .get("http://localhost:9/")
            .send()
            .await
            .expect_err("refused");
        assert_eq!(cause(&error).0, "address_refused");
        let outgoing = Outgoing::new("localhost", "test", CONNECT).expect("a client");
        let error = outgoing
            .client
            .get("http://localhost:9/")
            .send()
            .await
            .expect_err("nobody listens");
        assert_eq!(cause(&error).0, "connection_failed");
    }
}
