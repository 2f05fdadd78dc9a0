//! Outgoing HTTP requests: a connection of our own, so that the address which is allowed is the address that is used.
//!
//! 1. A name is looked up only if the guest may reach it; of the addresses that come back only the allowed ones are
//!    tried, and the connection goes to exactly the one that was checked.
//! 2. Redirects are the guest's business: it sends another request, which is checked like the first.
//! 3. Each phase has its limit in time, and what a server sends before its body a limit in size; bodies are streamed both
//!    ways and never held.
//! 4. A request that is under way takes one place of its grants, until its response's body is dropped and its connection
//!    closed.

use crate::network::{Network, Refusals, normalised};
use crate::resolver::{Asker, LookupError, NAME_BYTES_MAX, Resolver};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, Sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody};

/// The head of a response, and how much of a body is read ahead.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
const RESPONSE_HEADERS_MAX: usize = 256;
/// Addresses of one name that are tried.
const ADDRESSES_TRIED_MAX: usize = 8;

pub type Io = Box<dyn Future<Output = Result<()>> + Send>;
pub type Sent = (Response<WasiBody>, Io);

/// The settings of TLS with the certificates that the system trusts, read when they are first needed; again if that
/// failed.
/// Threads: any.
#[derive(Default)]
pub struct Tls(OnceCell<Arc<ClientConfig>>);

impl Tls {
    async fn config(self: &Arc<Tls>) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.0.get() {
            return Ok(Arc::clone(config));
        }
        // A task of its own, for a request that is given up would begin it all over; one at a time reads.
        let tls = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let read = || async {
                let read = tokio::task::spawn_blocking(tls_config).await;
                read.unwrap_or_else(|error| Err(error.to_string()))
            };
            tls.0.get_or_try_init(read).await.map(Arc::clone)
        });
        let config = reading.await.unwrap_or_else(|error| Err(error.to_string()));
        config.map_err(|text| Error::InternalError(Some(text)))
    }
}

/// Reads files.
fn tls_config() -> std::result::Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("the system has no trusted certificates (Debian: install ca-certificates)".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A place among the requests under way.
struct Place(Arc<AtomicU32>);

impl Place {
    fn take(taken: &Arc<AtomicU32>, max: u32) -> Option<Place> {
        // A count that orders nothing; the same in `drop`.
        let take = |now: u32| (now < max).then_some(now + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Place(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends requests of one guest.
pub struct Client {
    pub network: Arc<Network>,
    pub refusals: Arc<Refusals>,
    pub resolver: Arc<Resolver>,
    pub lookups: Arc<Asker>,
    pub tls: Arc<Tls>,
    pub requests: Arc<AtomicU32>,
    pub requests_max: u32,
    pub timeout_max: Duration,
}

struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Timeouts {
    fn new(options: Option<RequestOptions>, max: Duration) -> Timeouts {
        let options = options.unwrap_or_default();
        let bounded = |wanted: Option<Duration>| wanted.map_or(max, |wanted| wanted.min(max));
        Timeouts {
            connect: bounded(options.connect_timeout),
            first_byte: bounded(options.first_byte_timeout),
            between_bytes: bounded(options.between_bytes_timeout),
        }
    }
}

impl Client {
    pub async fn send(self, mut request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Sent> {
        let Some(place) = Place::take(&self.requests, self.requests_max) else {
            self.refusals.count_http_request();
            return Err(Error::ConnectionLimitReached);
        };
        let timeouts = Timeouts::new(options, self.timeout_max);
        let uri = request.uri().clone();
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let until = Instant::now() + timeouts.connect;
        let stream = timeout_at(
            until,
            self.connect(uri.scheme() == Some(&Scheme::HTTPS), authority, until),
        );
        let stream = stream.await.map_err(|_| Error::ConnectionTimeout)??;
        // The request line has the path alone; the authority stands in the header Host.
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        })
        .map_err(|_| Error::HttpRequestUriInvalid)?;
        exchange(stream, request, timeouts, place).await
    }

    async fn connect(&self, with_tls: bool, authority: &Authority, until: Instant) -> Result<Box<dyn Stream>> {
        let port = port(authority, if with_tls { 443 } else { 80 })?;
        let host = authority.host().trim_matches(['[', ']']);
        let stream = connect_to(self.addresses(host, port).await?, until).await?;
        // Small pieces leave at once; without it they only leave later.
        let _ = stream.set_nodelay(true);
        if !with_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(normalised(host)).map_err(|_| Error::HttpRequestUriInvalid)?;
        let connector = TlsConnector::from(self.tls.config().await?);
        Ok(Box::new(connector.connect(name, stream).await.map_err(tls_error)?))
    }

    /// The addresses of the host that may be reached; at least one.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        if host.len() > NAME_BYTES_MAX {
            return Err(Error::HttpRequestUriInvalid);
        }
        let (found, names) = if let Ok(address) = host.parse::<IpAddr>() {
            (vec![SocketAddr::new(address, port)], Vec::new())
        } else {
            if !self.network.allows_name(host) {
                self.refusals.count_name();
                return Err(Error::HttpRequestDenied);
            }
            let asked = self.resolver.look_up(&self.lookups, host);
            let found = asked.map_err(lookup_error)?.await.map_err(lookup_error)?;
            let found = found.into_iter().map(|address| SocketAddr::new(address, port));
            (found.collect(), vec![normalised(host)])
        };
        if found.is_empty() {
            return Err(lookup_error(LookupError::NoAddress));
        }
        let mut allowed = found;
        allowed.retain(|address| self.network.reaches(*address, &names));
        allowed.truncate(ADDRESSES_TRIED_MAX);
        if allowed.is_empty() {
            self.refusals.count_address();
            return Err(Error::DestinationIpProhibited);
        }
        Ok(allowed)
    }
}

/// The port that is written, which must be one, or else the scheme's.
fn port(authority: &Authority, default: u16) -> Result<u16> {
    let text = authority.as_str();
    if text.contains('@') {
        return Err(Error::HttpRequestUriInvalid);
    }
    match text.strip_prefix(authority.host()) {
        Some("" | ":") => Ok(default),
        _ => authority.port_u16().ok_or(Error::HttpRequestUriInvalid),
    }
}

/// Each address has its part of the time that is left, so that a dead one leaves some for the next.
async fn connect_to(addresses: Vec<SocketAddr>, until: Instant) -> Result<TcpStream> {
    let mut last = Error::DestinationUnavailable;
    for (address, left) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        let part = until.saturating_duration_since(Instant::now()) / left;
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => last = Error::ConnectionRefused,
            Ok(Err(_)) => last = Error::DestinationUnavailable,
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

fn lookup_error(error: LookupError) -> Error {
    let text = match error {
        LookupError::NoName => return Error::HttpRequestUriInvalid,
        LookupError::Busy => "too many look-ups are under way",
        LookupError::NoAddress => "the name has no address",
    };
    Error::DnsError {
        rcode: Some(text.to_owned()),
        info_code: None,
    }
}

fn tls_error(error: std::io::Error) -> Error {
    use tokio_rustls::rustls::Error as Rustls;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Rustls>()) {
        Some(Rustls::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(Rustls::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        _ => Error::TlsProtocolError,
    }
}

fn http_error(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_parse() || error.is_user() {
        Error::HttpProtocolError
    } else {
        Error::ConnectionTerminated
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Connection = http1::Connection<TokioIo<Box<dyn Stream>>, WasiBody>;

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<WasiBody>,
    timeouts: Timeouts,
    place: Place,
) -> Result<Sent> {
    let place = Arc::new(place);
    let of_connection = Arc::clone(&place);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(RESPONSE_HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http_error(&error))?;
    let mut connection: Option<Pin<Box<Connection>>> = Some(Box::pin(connection));
    let response = {
        let mut response = pin!(timeout(timeouts.first_byte, sender.send_request(request)));
        poll_fn(|cx| {
            if let Poll::Ready(done) = response.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            // It is the connection that moves the bytes. When it ends, the response knows.
            if let Some(moving) = &mut connection
                && moving.as_mut().poll(cx).is_ready()
            {
                connection = None;
                return response.as_mut().poll(cx);
            }
            Poll::Pending
        })
        .await
    };
    let response = response
        .map_err(|_| Error::ConnectionReadTimeout)?
        .map_err(|error| http_error(&error))?;
    let body = |incoming| ResponseBody {
        incoming,
        between_bytes: timeouts.between_bytes,
        late: Box::pin(tokio::time::sleep(timeouts.between_bytes)),
        waiting: false,
        _place: place,
    };
    let io = async move {
        // The connection counts until it is closed.
        let _place = of_connection;
        match connection {
            Some(connection) => connection.await.map_err(|error| http_error(&error)),
            None => Ok(()),
        }
    };
    Ok((response.map(|incoming| body(incoming).boxed_unsync()), Box::new(io)))
}

/// The body of a response, with the limit on the time that its reader waits for the next piece.
struct ResponseBody {
    incoming: hyper::body::Incoming,
    between_bytes: Duration,
    late: Pin<Box<Sleep>>,
    /// Whether `late` runs: from the first time that a reader finds nothing until there is something.
    waiting: bool,
    _place: Arc<Place>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| http_error(&error))));
        }
        if !self.waiting {
            self.waiting = true;
            let end = Instant::now() + self.between_bytes;
            self.late.as_mut().reset(end);
        }
        ready!(self.late.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
#[path = "outgoing_test.rs"]
mod tests;
