//! HTTP clients. [`Outgoing`] requests addresses that other people chose (pages to crawl, receivers of webhooks): only http and https; the address is
//! checked after it is resolved and again on each redirect, which callers follow themselves; everything that is not the public internet is rejected
//! unless the configuration allows it. [`endpoint_client`] requests endpoints that the operator configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use iprfc::{IpNet, Ipv6Net, RFC6890};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Url};
use tokio::net::TcpStream;

use crate::error::{Error, Result};

/// Permitted addresses.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

/// The only IPv6 range from which IANA allocates global unicast addresses (RFC 4291, section 2.4). Addresses outside of it, IPv4-compatible and
/// IPv4-translated ones among them, are rejected whatever a registry contains.
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// The well-known prefix of NAT64 (RFC 6052): networks without IPv4 reach IPv4 addresses through it.
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Returns the address at which a connection to `address` actually arrives: the IPv4 address inside an IPv4-mapped or NAT64 address.
fn destination(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address.to_canonical(),
    }
}

/// Returns whether an address belongs to the public internet: not in IANA's special-purpose registries, not multicast, and, of IPv6, in the range of
/// global unicast. 6to4 and Teredo, which embed IPv4 addresses, are in the registry and therefore never public.
fn is_public(address: IpAddr) -> bool {
    match destination(address) {
        IpAddr::V4(v4) => {
            !v4.is_multicast() && !RFC6890.ipv4_nets().iter().any(|net| net.contains(&v4))
        }
        IpAddr::V6(v6) => {
            // ISATAP (RFC 5214): an IPv4 address in the interface identifier.
            let isatap = matches!(v6.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, ..]);
            GLOBAL_UNICAST.contains(&v6)
                && !isatap
                && !RFC6890.ipv6_nets().iter().any(|net| net.contains(&v6))
        }
    }
}

impl Guard {
    /// Parses the targets that are allowed beside the public internet: networks (`10.0.0.0/8`), addresses and host names, separated by commas.
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
                    format!("outgoing_allow: {word:?} is not a network, an address or a host name"),
                ));
            } else {
                guard.hosts.push(word.to_lowercase());
            }
        }
        Ok(guard)
    }

    /// Returns whether an address may be requested: it is public, or the configuration allows it in this or in its canonical form.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let destination = destination(address);
        let allowed = |net: &IpNet| net.contains(&address) || net.contains(&destination);
        self.networks.iter().any(allowed) || is_public(destination)
    }

    fn permits_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| h == host)
    }

    /// Checks an address before its name is resolved: scheme, and hosts that are addresses. The client's resolver checks the rest.
    ///
    /// # Errors
    /// `address_refused`, with the reason.
    pub fn check(&self, url: &Url) -> Result<()> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!(
                "{}: only http and https can be fetched",
                url.scheme()
            )));
        }
        let Some(host) = url.host_str() else {
            return Err(refused("the address has no host".to_owned()));
        };
        let Some(literal) = literal(url) else {
            return Ok(());
        };
        if self.permits(literal) || self.permits_host(host) {
            Ok(())
        } else {
            Err(refused(explain(&literal.to_string())))
        }
    }
}

/// Returns the host of an address that is itself an IP address.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(v4) => Some(v4.into()),
        url::Host::Ipv6(v6) => Some(v6.into()),
        url::Host::Domain(_) => None,
    }
}

fn explain(what: &str) -> String {
    format!("{what} is a private or reserved address; the setting outgoing_allow can permit it")
}

fn refused(message: String) -> Error {
    Error::unprocessable("address_refused", message)
}

/// A name that resolved to nothing but rejected addresses; recovered from the error of a request.
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
                tracing::info!(host, address = %first.ip(), "an outgoing request was blocked");
                return Err(
                    Box::new(Refused(explain(&host))) as Box<dyn std::error::Error + Send + Sync>
                );
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The client for addresses chosen by others. Its fields are private, so that no request bypasses the checks.
#[derive(Debug, Clone)]
pub struct Outgoing {
    client: Client,
    guard: Guard,
}

/// The guarded client in the form that stores of objects take.
#[derive(Debug, Clone)]
pub struct ObjectStoreClient(Client);

impl HttpConnector for ObjectStoreClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// Connection timeout.
const CONNECT: Duration = Duration::from_secs(10);

/// Returns a builder of clients for an endpoint that the operator configured (a language model, Docling, a renderer), which may be on a private
/// network. They follow no redirect, so that the endpoint cannot lead Cairn anywhere else. Callers add their own time limit.
pub fn endpoint_client() -> ClientBuilder {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that makes clients"
    )]
    Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
}

impl Outgoing {
    /// Creates a client that reaches the public internet and the targets in `allowed`, and times out after `silence`.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn new(allowed: &str, user_agent: &str, silence: Duration) -> Result<Self> {
        let guard = Guard::read(allowed)?;
        let client = endpoint_client()
            .user_agent(user_agent)
            .dns_resolver(Arc::new(guard.clone()))
            // A proxy would resolve names outside of the guard.
            .no_proxy()
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

    /// Checks an address before it is stored or requested, see [`Guard::check`].
    ///
    /// # Errors
    /// `address_refused`.
    pub fn check(&self, url: &Url) -> Result<()> {
        self.guard.check(url)
    }

    /// Returns whether the configuration names the host of an address as one that may be requested.
    #[must_use]
    pub fn lists(&self, url: &Url) -> bool {
        let networks = &self.guard.networks;
        literal(url).is_some_and(|a| networks.iter().any(|net| net.contains(&a)))
            || self.guard.permits_host(url.host_str().unwrap_or_default())
    }

    /// Connects to a permitted host, for protocols other than HTTP.
    ///
    /// # Errors
    /// `address_refused`; `connection_failed` with the reason.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream> {
        let failed = |reason: String| {
            Error::upstream("connection_failed", format!("{host}:{port}: {reason}"))
        };
        let name = host
            .trim_matches(['[', ']'])
            .trim_end_matches('.')
            .to_lowercase();
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), port))
            .await
            .map_err(|e| failed(e.to_string()))?
            .collect();
        let permits =
            |a: &&SocketAddr| self.guard.permits_host(&name) || self.guard.permits(a.ip());
        let permitted: Vec<SocketAddr> = found.iter().filter(permits).copied().collect();
        if permitted.is_empty() && !found.is_empty() {
            return Err(refused(explain(host)));
        }
        let connecting = TcpStream::connect(permitted.as_slice());
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(stream) => stream.map_err(|e| failed(e.to_string())),
            Err(_) => Err(failed("the connection timed out".to_owned())),
        }
    }

    /// Returns the HTTP client for stores of objects. It resolves only permitted names; the address of the store itself is checked with [`Outgoing::check`].
    #[must_use]
    pub fn object_store(&self) -> ObjectStoreClient {
        ObjectStoreClient(self.client.clone())
    }

    /// Starts a request to a permitted address. Redirects are returned like other responses: follow one with another request.
    ///
    /// # Errors
    /// `address_refused`.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder> {
        self.guard.check(&url)?;
        Ok(self.client.request(method, url))
    }
}

/// Reads the body of a response, at most so many bytes of it.
///
/// # Errors
/// As the connection says.
pub async fn beginning(
    response: reqwest::Response,
    most: usize,
) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(piece) = bytes.next().await {
        body.extend_from_slice(&piece?);
        if body.len() >= most {
            body.truncate(most);
            break;
        }
    }
    Ok(body)
}

/// Returns where a response leads; `None` when it names no address.
#[must_use]
pub fn redirection(from: &Url, response: &reqwest::Response) -> Option<Url> {
    let to = response.headers().get(header::LOCATION)?.to_str().ok()?;
    from.join(to).ok()
}

/// Returns a code and one sentence about a request that failed: the innermost cause, without the address.
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
        return ("timeout", "the server timed out".to_owned());
    }
    (
        "connection_failed",
        format!("the connection failed: {last}"),
    )
}

/// Returns the delay of `Retry-After`, in seconds or as a date; `now` is in milliseconds since 1970.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    let wait = at.timestamp_millis().saturating_sub(now).max(0);
    Some(Duration::from_millis(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use iprfc::Ipv4Net;
    use proptest::prelude::{any, prop_assert, proptest};
    use proptest::sample::Index;

    use super::*;

    /// Returns an IPv4 address as it is, and inside every kind of IPv6 address that embeds one.
    fn forms(v4: Ipv4Addr) -> Vec<IpAddr> {
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let v6 = |segments: [u16; 8]| IpAddr::V6(segments.into());
        vec![
            IpAddr::V4(v4),
            v6([0, 0, 0, 0, 0, 0xffff, high, low]), // mapped
            v6([0, 0, 0, 0, 0, 0, high, low]),      // compatible
            v6([0, 0, 0, 0, 0xffff, 0, high, low]), // translated
            v6([0x64, 0xff9b, 0, 0, 0, 0, high, low]), // NAT64
            v6([0x64, 0xff9b, 1, 0, 0, 0, high, low]), // NAT64 of a network
            v6([0x2002, high, low, 0, 0, 0, 0, 1]), // 6to4
            v6([0x2001, 0, high, low, 0, 0, !0x7f00, !1]), // Teredo server
            v6([0x2001, 0, 0x808, 0x808, 0, 0, !high, !low]), // Teredo client
            v6([0xfe80, 0, 0, 0, 0, 0x5efe, high, low]), // ISATAP
            v6([0x2606, 0x4700, 0, 0, 0x200, 0x5efe, high, low]),
        ]
    }

    #[test]
    fn hosts_say_how_long_to_wait() {
        let after = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().expect("a header"));
            retry_after(&headers, 784_111_777_000 - 5000)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(5))
        );
        assert_eq!(after("Tue, 06 Nov 1990 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn every_special_range_of_ipv4_is_refused_in_every_form() {
        let guard = Guard::default();
        let multicast = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);
        for net in RFC6890.ipv4_nets().iter().chain([&multicast]) {
            for address in [net.network(), net.broadcast()].into_iter().flat_map(forms) {
                assert!(!guard.permits(address), "{address} of {net}");
            }
        }
    }

    #[test]
    fn every_special_range_of_ipv6_is_refused() {
        let guard = Guard::default();
        let more = ["fe80::/10", "fec0::/10", "ff00::/8", "4000::/2", "::/3"];
        let more = more.map(|net| net.parse::<Ipv6Net>().expect("a network"));
        for net in RFC6890.ipv6_nets().iter().chain(&more) {
            for address in [net.network(), net.broadcast()] {
                // The last mapped and NAT64 addresses embed 255.255.255.255, which is rejected, too.
                assert!(!guard.permits(address.into()), "{address} of {net}");
            }
        }
    }

    #[test]
    fn public_addresses_are_reached_directly_mapped_and_through_nat64() {
        let guard = Guard::default();
        for address in [
            "8.8.8.8",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            let address = address.parse().expect("an address");
            assert!(guard.permits(address), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_is_reached_in_its_mapped_form() {
        let guard = Guard::read("10.0.0.0/8, fd00::/8").expect("readable");
        let permits = |address: &str| guard.permits(address.parse().expect("an address"));
        assert!(permits("10.1.2.3") && permits("::ffff:10.1.2.3") && permits("fd00::1"));
        assert!(!permits("::10.1.2.3") && !permits("2002:a01:203::") && !permits("fc00::1"));
    }

    proptest! {
        #[test]
        fn no_address_inside_a_special_range_is_permitted(index in any::<Index>(), bits in any::<u32>()) {
            let net = index.get(RFC6890.ipv4_nets());
            let host = bits & u32::from(net.hostmask());
            for address in forms(Ipv4Addr::from(u32::from(net.network()) | host)) {
                prop_assert!(!Guard::default().permits(address), "{address} of {net}");
            }
        }

        #[test]
        fn what_is_permitted_is_public_ipv4_or_global_unicast(bits in any::<u128>(), prefix in any::<Index>()) {
            // Half of the addresses have the prefix of a special range.
            let net = prefix.get(RFC6890.ipv6_nets());
            let special = u128::from(net.network()) | bits & u128::from(net.hostmask());
            for address in [bits, special].map(Ipv6Addr::from) {
                if Guard::default().permits(address.into()) {
                    match destination(address.into()) {
                        IpAddr::V4(v4) => prop_assert!(
                            !v4.is_private() && !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified() && !v4.is_broadcast() && !v4.is_multicast(),
                            "{address}"
                        ),
                        IpAddr::V6(v6) => prop_assert!(v6.segments()[0] >> 13 == 1, "{address}"),
                    }
                }
            }
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
        let url: Url = "http://localhost:9/".parse().expect("an address");
        let request = outgoing.request(Method::GET, url.clone());
        let request = request.expect("a name says nothing yet");
        let error = request.send().await.expect_err("refused");
        assert_eq!(cause(&error).0, "address_refused");
        let outgoing = Outgoing::new("localhost", "test", CONNECT).expect("a client");
        let request = outgoing.request(Method::GET, url).expect("allowed");
        let error = request.send().await.expect_err("nobody listens");
        assert_eq!(cause(&error).0, "connection_failed");
    }
}
