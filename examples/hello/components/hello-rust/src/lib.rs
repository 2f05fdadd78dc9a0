//! The Rust twin of ../hello: a plain wasi:http handler. It tells who it is and repeats what it was asked.

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// Requests that this instance has served. Every request gets an instance of its own, so nobody ever sees a 2.
static REQUESTS_SERVED: AtomicU32 = AtomicU32::new(0);

struct Hello;

impl Guest for Hello {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let served = REQUESTS_SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        let text = format!(
            "Hello from Rust in process {}; you asked for {}.\nRequests it has served: {served}",
            header(&request, "x-rusm-pid").unwrap_or_else(|| "(unnamed)".into()),
            request.path_with_query().unwrap_or_default(),
        );
        respond(response_out, &text);
    }
}

/// The first value of a header field, if it is text.
fn header(request: &IncomingRequest, name: &str) -> Option<String> {
    let value = request.headers().get(name).into_iter().next()?;
    String::from_utf8(value).ok()
}

fn respond(response_out: ResponseOutparam, text: &str) {
    let headers = [("content-type".into(), b"text/plain; charset=utf-8".to_vec())];
    let Ok(headers) = Fields::from_list(&headers) else {
        return ResponseOutparam::set(response_out, Err(ErrorCode::InternalError(None)));
    };
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("a new response has its body");
    ResponseOutparam::set(response_out, Ok(response));
    let stream = body.write().expect("a new body has its stream");
    if stream.blocking_write_and_flush(text.as_bytes()).is_err() {
        return; // the client is gone
    }
    drop(stream);
    // The client may also go between the last byte and this; then there is nobody to tell.
    let _ = OutgoingBody::finish(body, None);
}

wasip2::http::proxy::export!(Hello);
