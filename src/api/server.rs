//! Accepts connections and bounds the cost of each: the time for a request's head, the time for reading a response, the total number and the number per
//! address. Above the total, connections are still accepted, but with one request and a short timeout each, so that health checks succeed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use iprfc::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits::{Counted, Counts, Full};

/// Maximum bytes of a request head, and bytes of a body that are read ahead.
const BUFFER: usize = 32 << 10;
/// Additional connections above the configured number, with a short timeout, for health checks.
const SPARE: usize = 256;
/// Time for the request head on an additional connection.
const HURRY: Duration = Duration::from_secs(2);
/// File descriptors reserved for uses other than connections.
const RESERVED_FILES: u64 = 1024;
/// Pause after `accept` fails, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of the client: that of the connection or, behind a configured proxy, the one that the proxy reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub IpAddr);

#[derive(Debug)]
struct Limits {
    head: Duration,
    stall: Duration,
    connections: usize,
    per_address: usize,
    proxies: Vec<IpNet>,
}

impl Limits {
    fn read(config: &Config) -> Result<Self> {
        let proxies = config
            .proxies
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| {
                let single = word.parse::<IpAddr>().map(IpNet::from);
                single.or_else(|_| word.parse()).map_err(|_| {
                    let message = format!("proxies: {word:?} is not an address or a network");
                    Error::invalid("config_invalid", message)
                })
            })
            .collect::<Result<_>>()?;
        let wanted = (config.connections + SPARE) as u64 + RESERVED_FILES;
        let files = rlimit::increase_nofile_limit(wanted)?;
        let most = usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX);
        let connections = config.connections.min(most.saturating_sub(SPARE)).max(1);
        if connections < config.connections {
            tracing::warn!(
                connections,
                files,
                "the limit of open files allows fewer connections than configured"
            );
        }
        Ok(Self {
            head: Duration::from_secs(config.head_seconds),
            stall: Duration::from_secs(config.stall_seconds),
            connections,
            per_address: config.connections_per_address,
            proxies,
        })
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&address))
    }

    /// Returns the last address in `X-Forwarded-For` that is not a configured proxy; the header is only trusted from configured proxies.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.is_proxy(peer) {
            return peer;
        }
        let hops = headers
            .get_all("x-forwarded-for")
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let hops: Vec<&str> = hops.map(str::trim).collect();
        hops.into_iter()
            .rev()
            .map_while(|hop| hop.parse().ok())
            .find(|hop: &IpAddr| !self.is_proxy(*hop))
            .unwrap_or(peer)
    }
}

/// Serves until `stop` fires, then waits for open requests to complete.
///
/// # Errors
/// `config_invalid` for malformed proxies.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    stop: CancellationToken,
) -> Result<()> {
    let limits = Arc::new(Limits::read(config)?);
    let open = Counts::default();
    let closing = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let address = peer.ip().to_canonical();
        // A proxy carries the connections of many clients, and loopback belongs to the operator.
        let most = if address.is_loopback() || limits.is_proxy(address) {
            usize::MAX
        } else {
            limits.per_address
        };
        let counted = match open.open(&address, limits.connections + SPARE, most) {
            Ok(counted) => counted,
            Err(full) => {
                let limit = match full {
                    Full::All => "all",
                    Full::Key => "address",
                };
                metrics::counter!("cairn_connections_refused_total", "limit" => limit).increment(1);
                continue;
            }
        };
        let all = open.all();
        metrics::gauge!("cairn_connections").set(all as f64);
        let crowded = all > limits.connections;
        connect(stream, peer, &router, &limits, crowded, counted, &closing);
    }
    drop(listener);
    closing.shutdown().await;
    Ok(())
}

fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
    limits: &Arc<Limits>,
    crowded: bool,
    counted: Counted<IpAddr>,
    closing: &GracefulShutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "a connection could not be set up");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall));
    // Cloning the router is cheap; a router with its state applied would copy every route.
    let (router, limits) = (router.clone(), Arc::clone(limits));
    let head = if crowded { HURRY } else { limits.head };
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let client = limits.client(peer.ip().to_canonical(), request.headers());
        request.extensions_mut().insert(ClientAddress(client));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .keep_alive(!crowded)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let connection = closing.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "a connection ended early");
        }
        drop(counted);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(proxies: &str) -> Result<Limits> {
        Limits::read(&Config {
            proxies: proxies.to_owned(),
            ..Config::default()
        })
    }

    #[test]
    fn only_proxies_of_ours_say_where_a_request_comes_from() {
        let limits = limits("10.0.0.0/8, 127.0.0.1").expect("readable");
        let client = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
            let peer = peer.parse().expect("an address");
            limits.client(peer, &headers).to_string()
        };
        assert_eq!(
            client("203.0.113.9", "198.51.100.1"),
            "203.0.113.9",
            "a stranger"
        );
        assert_eq!(client("127.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(
            client("10.0.0.2", "1.1.1.1, 198.51.100.1, 10.0.0.1"),
            "198.51.100.1",
            "what the client itself sent is not believed"
        );
        assert_eq!(client("127.0.0.1", "unknown"), "127.0.0.1");
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        assert_eq!(
            limits("proxy.test").expect_err("a name").code(),
            "config_invalid"
        );
    }
}
