//! A connection: handshake, calls that are answered in any order, events, and its end when the gateway falls silent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use tokio_util::sync::CancellationToken;

use super::device::{CLIENT, Device, MODE, ROLE, SCOPES};
use super::{ANSWER, Target, UNREACHABLE, broken, refusal, within};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::outgoing::Outgoing;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Time for the challenge; older gateways send none.
const CHALLENGE: Duration = Duration::from_secs(2);
/// Largest message, as gateways announce it (`policy.maxPayload`).
const LARGEST: usize = 25 << 20;
/// Interval of ticks when a gateway announces none.
const TICK: Duration = Duration::from_secs(30);
/// A connection without calls ends after this time.
const IDLE: Duration = Duration::from_secs(600);

/// Description of a gateway from its handshake.
#[derive(Debug, Clone, Default)]
pub struct Hello {
    /// Protocol version: 3 or 4.
    pub protocol: i64,
    /// Version of the gateway, such as `2026.9.6`; empty when it does not say.
    pub version: String,
    pub methods: Vec<String>,
    pub events: Vec<String>,
    tick: Option<Duration>,
}

impl Hello {
    fn of(payload: &Value) -> Self {
        let texts = |pointer: &str| -> Vec<String> {
            let list = payload.pointer(pointer).and_then(Value::as_array);
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        let version = payload.pointer("/server/version").and_then(Value::as_str);
        let tick = payload
            .pointer("/policy/tickIntervalMs")
            .and_then(Value::as_u64);
        Self {
            protocol: payload.get("protocol").and_then(Value::as_i64).unwrap_or(3),
            version: version.unwrap_or_default().to_owned(),
            methods: texts("/features/methods"),
            events: texts("/features/events"),
            tick: tick.filter(|ms| *ms > 0).map(Duration::from_millis),
        }
    }
}

/// A call on its way to the connection.
struct Asked {
    method: String,
    params: Value,
    answer: oneshot::Sender<Result<Value>>,
}

/// A connection to a gateway. It ends when it is dropped, when the gateway closes it or falls silent, and when nothing is asked for ten minutes.
#[derive(Debug)]
pub struct Connection {
    pub hello: Hello,
    asked: mpsc::Sender<Asked>,
    ended: CancellationToken,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Connection {
    /// Connects to a gateway.
    ///
    /// # Errors
    /// `address_refused`, `gateway_unreachable`, `gateway_unauthorized`.
    pub async fn open(
        outgoing: &Outgoing,
        clock: &Clock,
        device: &Device,
        target: &Target,
    ) -> Result<Self> {
        let mut socket = within(ANSWER, "connection", connect(outgoing, target)).await?;
        let hello = within(ANSWER, "hello", greet(&mut socket, clock, device, target)).await?;
        let (sender, receiver) = mpsc::channel(64);
        let ended = CancellationToken::new();
        tokio::spawn(serve(
            socket,
            receiver,
            hello.tick.unwrap_or(TICK),
            ended.clone(),
        ));
        Ok(Self {
            hello,
            asked: sender,
            ended,
        })
    }

    /// Returns whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ended.is_cancelled() || self.asked.is_closed()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        self.ended.cancelled().await;
    }

    /// Calls a method and returns the payload of the answer.
    ///
    /// # Errors
    /// `gateway_refused` with the gateway's message, `gateway_unauthorized`, `gateway_unreachable` when the connection ends or `limit` passes.
    pub async fn call(&self, method: &str, params: Value, limit: Duration) -> Result<Value> {
        let (sender, receiver) = oneshot::channel();
        let asked = Asked {
            method: method.to_owned(),
            params,
            answer: sender,
        };
        let ended = || broken("the connection ended");
        let answer = async {
            self.asked.send(asked).await.map_err(|_| ended())?;
            receiver.await.map_err(|_| ended())?
        };
        within(limit, &format!("answer to {method}"), answer).await
    }
}

async fn connect(outgoing: &Outgoing, target: &Target) -> Result<Socket> {
    let invalid = |reason: &str| Error::unprocessable("gateway_url_invalid", reason);
    let url = url::Url::parse(&target.url)
        .map_err(|e| invalid(&format!("the address of the gateway is invalid: {e}")))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(invalid(
            "the address of a gateway begins with ws:// or wss://",
        ));
    }
    let host = url
        .host_str()
        .ok_or_else(|| invalid("the address of the gateway has no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = outgoing.connect(host, port).await.map_err(|e| {
        if e.code() == "address_refused" {
            e
        } else {
            broken(e.public_message())
        }
    })?;
    // Without an origin: gateways take clients that have one for browsers, whose devices people must approve even on loopback.
    let request = target
        .url
        .as_str()
        .into_client_request()
        .map_err(|e| invalid(&e.to_string()))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    let connector = if target.allow_insecure_tls {
        Some(Connector::Rustls(Arc::new(trusting()?)))
    } else {
        None
    };
    let (socket, _) = client_async_tls_with_config(request, stream, Some(config), connector)
        .await
        .map_err(broken)?;
    Ok(socket)
}

/// Returns the next frame; pings are answered by the library.
async fn next(socket: &mut Socket) -> Result<Value> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                if let Ok(frame) = serde_json::from_str(&text) {
                    return Ok(frame);
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|f| format!("{} {}", f.code, f.reason));
                return Err(broken(
                    reason.unwrap_or_else(|| "it closed the connection".to_owned()),
                ));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(broken("it closed the connection")),
        }
    }
}

/// The handshake.
async fn greet(
    socket: &mut Socket,
    clock: &Clock,
    device: &Device,
    target: &Target,
) -> Result<Hello> {
    let challenge = tokio::time::timeout(CHALLENGE, async {
        loop {
            let frame = next(socket).await?;
            if frame["event"] == "connect.challenge" {
                return Ok::<_, Error>(frame["payload"].clone());
            }
        }
    });
    let challenge = match challenge.await {
        Ok(challenge) => Some(challenge?),
        Err(_) => None,
    };
    let nonce = challenge.as_ref().and_then(|c| c["nonce"].as_str());
    let at = challenge.as_ref().and_then(|c| c["ts"].as_i64());
    let at = at.unwrap_or_else(|| clock.now().0);
    let mut params = json!({
        "minProtocol": 3,
        "maxProtocol": 4,
        "role": ROLE,
        "scopes": SCOPES,
        "client": {"id": CLIENT, "version": env!("CARGO_PKG_VERSION"), "platform": std::env::consts::OS, "mode": MODE},
    });
    if !target.token.is_empty() {
        params["auth"] = json!({"token": target.token});
    }
    if !target.without_device {
        params["device"] = device.signed(target, nonce, at);
    }
    let request = json!({"type": "req", "id": "connect", "method": "connect", "params": params});
    let text = Message::text(request.to_string());
    socket.send(text).await.map_err(broken)?;
    loop {
        let frame = next(socket).await?;
        if frame["type"] != "res" || frame["id"] != "connect" {
            continue;
        }
        if frame["ok"] == true {
            return Ok(Hello::of(&frame["payload"]));
        }
        return Err(refusal(&frame["error"]));
    }
}

/// Serves a connection until it ends: every call that is open then fails.
async fn serve(
    mut socket: Socket,
    mut asked: mpsc::Receiver<Asked>,
    tick: Duration,
    ended: CancellationToken,
) {
    let mut open: HashMap<String, oneshot::Sender<Result<Value>>> = HashMap::new();
    let mut count = 0_u64;
    let mut silent_until = tokio::time::Instant::now() + 2 * tick;
    let mut idle_until = tokio::time::Instant::now() + IDLE;
    let reason = loop {
        tokio::select! {
            call = asked.recv() => {
                let Some(call) = call else { break broken("the connection was closed") };
                count += 1;
                idle_until = tokio::time::Instant::now() + IDLE;
                let id = count.to_string();
                let frame = json!({"type": "req", "id": id, "method": call.method, "params": call.params});
                open.insert(id, call.answer);
                if let Err(error) = socket.send(Message::text(frame.to_string())).await {
                    break broken(error);
                }
            }
            frame = socket.next() => {
                silent_until = tokio::time::Instant::now() + 2 * tick;
                let text = match frame {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map(|f| format!("{} {}", f.code, f.reason));
                        break broken(reason.unwrap_or_else(|| "it closed the connection".to_owned()));
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => break broken(error),
                    None => break broken("it closed the connection"),
                };
                let Ok(mut frame) = serde_json::from_str::<Value>(&text) else { continue };
                let id = frame["id"].as_str().unwrap_or_default();
                if frame["type"] == "res" && let Some(answer) = open.remove(id) {
                    let outcome = if frame["ok"] == true {
                        Ok(frame["payload"].take())
                    } else {
                        Err(refusal(&frame["error"]))
                    };
                    // Nobody waits any more after the time of a call.
                    let _ = answer.send(outcome);
                }
            }
            () = tokio::time::sleep_until(silent_until) => break broken("it fell silent"),
            () = tokio::time::sleep_until(idle_until) => break broken("the connection was idle"),
            () = ended.cancelled() => break broken("the connection was closed"),
        }
    };
    ended.cancel();
    for (_, answer) in open {
        let _ = answer.send(Err(Error::upstream(UNREACHABLE, reason.public_message())));
    }
    // The other side may be gone already.
    let _ = tokio::time::timeout(Duration::from_secs(2), socket.close(None)).await;
}

/// Returns a TLS configuration that accepts any certificate, for gateways with self-signed ones.
fn trusting() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("TLS cannot be configured").with_source(e))?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

/// Accepts any certificate, but checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
