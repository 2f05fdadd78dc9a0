//! One HTTP request and its response: the guest's call, the request body that it reads and the response body that it
//! writes, moved through the embedder's callbacks within the same resume.
//!
//! 1. The embedder's callbacks are asked, never waited for: a read or write that would block leaves the guest pending
//!    without a waker, and the embedder resumes the instance when that may have changed. So every poll asks again.
//! 2. The response head leaves inside the guest's call of `response-outparam.set`; its body is pumped after each poll of
//!    the guest, which frees room for the guest and wakes it within the same resume.
//! 3. When the guest has returned, its store is gone and its slot free; what is left of the body is still pumped.
//! 4. A body that does not have the length that its Content-Length promised is broken off, never completed.

use crate::abi::rusm_bytes;
use crate::exit::Ending;
use crate::guest::Guest;
use crate::host::{Host, Moved, rusm_http_head, rusm_http_header};
use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView};

/// How much of a request body is read at once.
const READ_BYTES: usize = 64 * 1024;

/// The request body, read from the embedder when the guest asks for it.
struct RequestBody {
    host: Host,
    done: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut buffer = Vec::with_capacity(READ_BYTES);
        match self.host.http_read(&mut buffer) {
            Moved::Bytes(_) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(buffer))))),
            Moved::WouldBlock => Poll::Pending,
            Moved::End => {
                self.done = true;
                Poll::Ready(None)
            }
            Moved::Broken => {
                self.done = true;
                Poll::Ready(Some(Err(Error::ConnectionTerminated)))
            }
        }
    }
}

/// A response whose head is out.
struct Outgoing {
    body: HyperOutgoingBody,
    /// What the body must come to, where that matters.
    length: Option<u64>,
}

/// Where the guest's response waits for the pump. Written inside the guest's poll, read after it, on the same thread.
type Slot = Arc<Mutex<Option<Outgoing>>>;

fn take(slot: &Slot) -> Option<Outgoing> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

type IncomingRequest = (Scheme, Request<RequestBody>);

/// The request that the embedder holds ready; Err is the ending of an instance that has none it can answer.
fn incoming(host: Host, guest: &Guest) -> Result<IncomingRequest, Ending> {
    let head = host
        .http_head()
        .ok_or_else(|| Ending::host_error("there is no request to answer"))?;
    // SAFETY: the embedder keeps the head valid while the instance lives.
    unsafe { request(host, &head) }.ok_or_else(|| {
        if host.http_respond(StatusCode::BAD_REQUEST.as_u16(), &[]) {
            host.http_finish(true);
        }
        Ending::of(Ok(0), guest)
    })
}

/// The request as the guest's host functions want it; None when its target is no URI or a field is malformed.
///
/// # Safety
/// What `head` points to must be valid during the call.
unsafe fn request(host: Host, head: &rusm_http_head) -> Option<IncomingRequest> {
    // SAFETY: by contract; the same for all texts below.
    let (method, scheme) = unsafe { (head.method.as_slice(), head.scheme.as_slice()) };
    let (authority, target) = unsafe { (head.authority.as_slice(), head.path_with_query.as_slice()) };
    let (uri_scheme, scheme) = match scheme {
        b"https" => (http::uri::Scheme::HTTPS, Scheme::Https),
        _ => (http::uri::Scheme::HTTP, Scheme::Http),
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(uri_scheme);
    parts.authority = Some(Authority::try_from(authority).ok()?);
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    let mut headers = HeaderMap::with_capacity(head.header_count);
    let fields = if head.headers.is_null() {
        &[]
    } else {
        // SAFETY: by contract.
        unsafe { std::slice::from_raw_parts(head.headers, head.header_count) }
    };
    for field in fields {
        let (name, value) = unsafe { (field.name.as_slice(), field.value.as_slice()) };
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    let mut request = Request::new(RequestBody { host, done: false });
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.headers_mut() = headers;
    Some((scheme, request))
}

/// The same headers for the embedder, valid as long as `headers`.
fn raw_headers(headers: &HeaderMap) -> Vec<rusm_http_header> {
    let raw = |(name, value): (&HeaderName, &HeaderValue)| rusm_http_header {
        name: rusm_bytes::of(name.as_str().as_bytes()),
        value: rusm_bytes::of(value.as_bytes()),
    };
    headers.iter().map(raw).collect()
}

/// Sends the head of a response; what remains is its body.
fn respond(host: Host, is_head: bool, response: Response<HyperOutgoingBody>) -> Option<Outgoing> {
    let (parts, body) = response.into_parts();
    if !host.http_respond(parts.status.as_u16(), &raw_headers(&parts.headers)) {
        return None;
    }
    let bodiless = is_head || parts.status == StatusCode::NOT_MODIFIED || parts.status == StatusCode::NO_CONTENT;
    let length = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Some(Outgoing {
        body,
        length: if bodiless { None } else { length },
    })
}

async fn handle(
    pre: &ProxyPre<Guest>,
    store: &mut wasmtime::Store<Guest>,
    scheme: Scheme,
    request: Request<RequestBody>,
    slot: Slot,
) -> wasmtime::Result<i32> {
    let host = store.data().host;
    let is_head = request.method() == Method::HEAD;
    let proxy = pre.instantiate_async(&mut *store).await?;
    let mut view = store.data_mut().http();
    let incoming = view.new_incoming_request(scheme, request)?;
    let outparam =
        view.new_response_outparam_from_callback(move |answer: Result<Response<HyperOutgoingBody>, ErrorCode>| {
            match answer {
                Ok(response) => {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = respond(host, is_head, response);
                }
                Err(code) => host.http_respond_error(&format!("{code:?}")),
            }
        })?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut *store, incoming, outparam)
        .await?;
    Ok(0)
}

async fn run(pre: &'static ProxyPre<Guest>, engine: &'static wasmtime::Engine, mut guest: Guest, slot: Slot) -> Ending {
    let (scheme, request) = match incoming(guest.host, &guest) {
        Ok(request) => request,
        Err(ending) => return ending,
    };
    if let Err(error) = guest.prepare() {
        return Ending::of(Err(error), &guest);
    }
    let mut store = guest.into_store(engine);
    let result = handle(pre, &mut store, scheme, request, slot).await;
    Ending::after(result, store)
}

enum GuestState {
    Running(Pin<Box<dyn Future<Output = Ending> + Send>>),
    /// It returned; its store is gone.
    Ended(Ending),
    /// The ending was handed out.
    Taken,
}

/// Moves a response body to the embedder.
struct Pump {
    host: Host,
    outgoing: Option<Outgoing>,
    chunk: Bytes,
    sent: u64,
}

impl Pump {
    /// Moves what can be moved. Afterwards `outgoing` is None if the body ended, one way or the other.
    fn run(&mut self) {
        // Everything that makes the body ready happens inside the guest's polls, so nobody needs to be woken.
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(outgoing) = &mut self.outgoing {
            if self.chunk.has_remaining() {
                match self.host.http_write(&self.chunk) {
                    Moved::Bytes(count) => self.chunk.advance(count),
                    Moved::WouldBlock => return,
                    Moved::End | Moved::Broken => self.finish(false),
                }
                continue;
            }
            match Pin::new(&mut outgoing.body).poll_frame(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(None) => {
                    let complete = outgoing.length.is_none_or(|length| length == self.sent);
                    self.finish(complete);
                }
                Poll::Ready(Some(Err(_))) => self.finish(false),
                Poll::Ready(Some(Ok(frame))) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                self.host.http_trailers(&raw_headers(&trailers));
                            }
                            continue;
                        }
                    };
                    self.sent = self.sent.saturating_add(data.len() as u64);
                    if outgoing.length.is_some_and(|length| self.sent > length) {
                        self.finish(false);
                    } else {
                        self.chunk = data;
                    }
                }
            }
        }
    }

    /// Tells the embedder how the body ended, once; the guest finds its stream closed.
    fn finish(&mut self, complete: bool) {
        if self.outgoing.take().is_some() {
            self.chunk = Bytes::new();
            self.host.http_finish(complete);
        }
    }
}

/// The guest and its response, polled together.
pub struct Exchange {
    guest: GuestState,
    slot: Slot,
    pump: Pump,
}

impl Exchange {
    pub fn new(pre: &'static ProxyPre<Guest>, engine: &'static wasmtime::Engine, guest: Guest) -> Exchange {
        let host = guest.host;
        let slot = Slot::default();
        Exchange {
            guest: GuestState::Running(Box::pin(run(pre, engine, guest, Arc::clone(&slot)))),
            slot,
            pump: Pump {
                host,
                outgoing: None,
                chunk: Bytes::new(),
                sent: 0,
            },
        }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let GuestState::Running(future) = &mut self.guest
            && let Poll::Ready(ending) = future.as_mut().poll(cx)
        {
            self.guest = GuestState::Ended(ending);
        }
        if let Some(outgoing) = take(&self.slot) {
            self.pump.outgoing = Some(outgoing);
        }
        if let GuestState::Ended(ending) = &self.guest
            && !ending.is_normal()
        {
            self.pump.finish(false);
        }
        self.pump.run();
        if matches!(self.guest, GuestState::Running(_)) || self.pump.outgoing.is_some() {
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.guest, GuestState::Taken) {
            GuestState::Ended(ending) => Poll::Ready(ending),
            GuestState::Running(_) | GuestState::Taken => Poll::Pending,
        }
    }
}
