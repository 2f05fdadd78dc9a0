use super::*;
use crate::abi::rusm_bytes;
use crate::network::{rusm_network_policy, rusm_network_rule, rusm_network_rule_kind, rusm_refusals};
use http_body_util::{Empty, Full};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

const HTTP: &str = "http://";

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn loopback() -> rusm_network_rule {
    rusm_network_rule {
        kind: rusm_network_rule_kind::NETWORK as u32,
        host: rusm_bytes::EMPTY,
        address: Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets(),
        prefix_bits: 104,
        port_first: 0,
        port_last: u16::MAX,
    }
}

fn host(name: &'static str) -> rusm_network_rule {
    rusm_network_rule {
        kind: rusm_network_rule_kind::HOST as u32,
        host: rusm_bytes::of(name.as_bytes()),
        address: Ipv6Addr::UNSPECIFIED.octets(),
        ..loopback()
    }
}

fn client(rules: &[rusm_network_rule]) -> std::result::Result<Client, String> {
    let policy = rusm_network_policy {
        reach: rules.as_ptr(),
        reach_count: rules.len(),
        listen: std::ptr::null(),
        listen_count: 0,
    };
    // SAFETY: the rules live during the call.
    let network = unsafe { Network::new(&[policy]) }.map_err(|failure| failure.text)?;
    Ok(Client {
        network: Arc::new(network),
        refusals: Arc::default(),
        resolver: Arc::default(),
        lookups: Arc::default(),
        tls: Arc::default(),
        requests: Arc::default(),
        requests_max: 2,
        timeout_max: Duration::from_secs(20),
    })
}

/// Reads one request's head, answers with `answer`, and gives back what it read.
fn serve_once(answer: &'static str) -> std::io::Result<(u16, JoinHandle<std::io::Result<String>>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let head = read_head(&mut stream)?;
        stream.write_all(answer.as_bytes())?;
        if answer.is_empty() {
            // The client gives up first.
            let _ = stream.read(&mut [0])?;
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    });
    Ok((port, serving))
}

/// An answer that comes before its request is none to the client.
fn read_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.extend_from_slice(&byte);
    }
    Ok(head)
}

/// Sends the head and two bytes of five to the first who asks, and nothing more until it is stopped.
struct StallingServer {
    address: SocketAddr,
    stop: std::sync::mpsc::Sender<()>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl StallingServer {
    fn start() -> std::io::Result<StallingServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            read_head(&mut stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe")?;
            let _ = stopped.recv();
            Ok(())
        });
        Ok(StallingServer { address, stop, thread })
    }

    fn uri(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn stop(self) -> Outcome {
        drop(self.stop);
        self.thread.join().map_err(|_| "the server panicked")??;
        Ok(())
    }
}

fn get(uri: &str) -> std::result::Result<Request<WasiBody>, http::Error> {
    Request::get(uri).body(Empty::new().map_err(|never| match never {}).boxed_unsync())
}

fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

/// Sends and reads the whole body: what came of it, by name.
fn fetch(client: Client, request: Request<WasiBody>, options: Option<RequestOptions>) -> std::io::Result<String> {
    block_on(async move {
        match client.send(request, options).await {
            Err(error) => format!("{error:?}"),
            Ok((response, io)) => {
                let status = response.status();
                let body = while_moving(response.into_body().collect(), Box::into_pin(io)).await;
                match body {
                    Ok(body) => {
                        let trailers = body.trailers().cloned();
                        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                        format!(
                            "{status} {text}{}",
                            if trailers.is_some() { " with trailers" } else { "" }
                        )
                    }
                    Err(error) => format!("{status} {error:?}"),
                }
            }
        }
    })
}

/// `a` to its end, moved along by `b`, which is dropped then.
async fn while_moving<A, B>(a: impl Future<Output = A>, b: Pin<Box<impl Future<Output = B> + ?Sized>>) -> A {
    let (mut a, mut b) = (pin!(a), Some(b));
    poll_fn(move |cx| {
        if let Some(moving) = &mut b
            && moving.as_mut().poll(cx).is_ready()
        {
            b = None;
        }
        a.as_mut().poll(cx)
    })
    .await
}

fn refused(client: Client, uri: &str) -> std::result::Result<(String, rusm_refusals), Box<dyn std::error::Error>> {
    let refusals = Arc::clone(&client.refusals);
    Ok((fetch(client, get(uri)?, None)?, refusals.get()))
}

#[test]
fn an_address_that_is_allowed_is_asked() -> Outcome {
    let (port, serving) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")?;
    let sent = fetch(
        client(&[loopback()])?,
        get(&format!("http://127.0.0.1:{port}/a?b"))?,
        None,
    )?;
    assert_eq!(sent, "200 OK hello");
    let head = serving.join().map_err(|_| "the server panicked")??;
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    Ok(())
}

#[test]
fn trailers_and_pieces_come_through_and_redirects_are_the_guests() -> Outcome {
    let (port, _) = serve_once(
        "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n\
         0\r\nx-sum: 5\r\n\r\n",
    )?;
    let sent = fetch(client(&[loopback()])?, get(&format!("http://127.0.0.1:{port}/"))?, None)?;
    assert_eq!(sent, "302 Found abcde with trailers");
    Ok(())
}

#[test]
fn what_is_not_allowed_is_refused_before_anything_is_sent() -> Outcome {
    let (said, counts) = refused(client(&[host("api.example.com")])?, "http://127.0.0.1:1/")?;
    assert_eq!((said.as_str(), counts.addresses), ("DestinationIpProhibited", 1));
    let (said, counts) = refused(client(&[loopback()])?, "http://example.com/")?;
    assert_eq!((said.as_str(), counts.names), ("HttpRequestDenied", 1));
    let (said, counts) = refused(client(&[loopback()])?, "http://localhost:1/")?;
    assert_eq!((said.as_str(), counts.names), ("HttpRequestDenied", 1));
    let (said, _) = refused(client(&[loopback()])?, &format!("{HTTP}user@127.0.0.1:1/"))?;
    assert_eq!(said, "HttpRequestUriInvalid");
    for authority in ["127.0.0.1:99999", "[::1]:65536"] {
        let (said, _) = refused(client(&[loopback()])?, &format!("{HTTP}{authority}/"))?;
        assert_eq!(said, "HttpRequestUriInvalid", "{authority}");
    }
    let long = format!("http://{}.example.com/", "a".repeat(300));
    let (said, counts) = refused(client(&[host("api.example.com")])?, &long)?;
    assert_eq!((said.as_str(), counts.names), ("HttpRequestUriInvalid", 0));
    Ok(())
}

#[test]
fn a_name_that_leads_to_another_address_than_it_may_is_refused() -> Outcome {
    // The look-up of this name gives loopback, which only the name `localhost` itself would open.
    let (said, counts) = refused(
        client(&[host("localhost.localdomain")])?,
        &format!("{HTTP}localhost.localdomain:1/"),
    )?;
    assert!(
        said == "DestinationIpProhibited" || said.starts_with("DnsError"),
        "{said}"
    );
    assert_eq!(counts.names, 0);
    let (port, _) = serve_once("HTTP/1.1 204 No Content\r\n\r\n")?;
    let sent = fetch(
        client(&[host("localhost")])?,
        get(&format!("{HTTP}LocalHost:{port}"))?,
        None,
    )?;
    assert_eq!(sent, "204 No Content ");
    Ok(())
}

#[test]
fn a_silent_server_costs_its_time_and_no_more() -> Outcome {
    let options = |first_byte, between_bytes| {
        Some(RequestOptions {
            connect_timeout: None,
            first_byte_timeout: first_byte,
            between_bytes_timeout: between_bytes,
        })
    };
    let soon = Some(Duration::from_millis(20));
    let (port, _) = serve_once("")?;
    let uri = format!("http://127.0.0.1:{port}/");
    assert_eq!(
        fetch(client(&[loopback()])?, get(&uri)?, options(soon, None))?,
        "ConnectionReadTimeout"
    );
    let server = StallingServer::start()?;
    let uri = server.uri();
    assert_eq!(
        fetch(client(&[loopback()])?, get(&uri)?, options(None, soon))?,
        "200 OK ConnectionReadTimeout"
    );
    server.stop()
}

#[test]
fn a_head_that_is_too_large_is_refused() -> Outcome {
    let many: &'static str = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2 * BUFFER_BYTES_MAX)).leak();
    let (port, _) = serve_once(many)?;
    let said = fetch(client(&[loopback()])?, get(&format!("http://127.0.0.1:{port}/"))?, None)?;
    assert_eq!(said, "HttpResponseHeaderSectionSize(None)");
    Ok(())
}

#[test]
fn places_are_taken_until_body_and_connection_are_gone() -> Outcome {
    let (port, _) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")?;
    let places = Arc::new(AtomicU32::new(0));
    let mut first = client(&[loopback()])?;
    first.requests = Arc::clone(&places);
    first.requests_max = 1;
    let mut second = client(&[loopback()])?;
    second.requests = Arc::clone(&places);
    second.requests_max = 1;
    let refusals = Arc::clone(&second.refusals);
    let uri = format!("http://127.0.0.1:{port}/");
    let (request, again) = (get(&uri)?, get(&uri)?);
    let counted = Arc::clone(&places);
    block_on(async move {
        let Ok((response, io)) = first.send(request, None).await else {
            std::panic::panic_any("the first request fails")
        };
        let refused = second.send(again, None).await;
        assert!(matches!(refused, Err(Error::ConnectionLimitReached)));
        drop(response);
        assert_eq!(counted.load(Ordering::Relaxed), 1, "the connection is still there");
        drop(io);
    })?;
    assert_eq!((places.load(Ordering::Relaxed), refusals.get().http_requests), (0, 1));
    Ok(())
}

#[test]
fn a_body_is_sent_in_pieces() -> Outcome {
    let (port, serving) = serve_once("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    let body = Full::new(Bytes::from_static(b"posted")).map_err(|never| match never {});
    let request = Request::post(format!("http://127.0.0.1:{port}/")).body(body.boxed_unsync())?;
    assert_eq!(fetch(client(&[loopback()])?, request, None)?, "200 OK ");
    let head = serving.join().map_err(|_| "the server panicked")??;
    assert!(head.contains("content-length: 6"), "{head}");
    Ok(())
}

#[test]
fn a_reader_that_comes_late_is_no_silent_server() -> Outcome {
    let server = StallingServer::start()?;
    let request = get(&server.uri())?;
    let between_bytes = Duration::from_millis(50);
    let options = RequestOptions {
        connect_timeout: None,
        first_byte_timeout: None,
        between_bytes_timeout: Some(between_bytes),
    };
    let client = client(&[loopback()])?;
    block_on(async move {
        let Ok((response, io)) = client.send(request, Some(options)).await else {
            std::panic::panic_any("the request fails")
        };
        let (mut body, mut io) = (response.into_body(), Box::into_pin(io));
        let first = poll_fn(|cx| {
            let _ = io.as_mut().poll(cx);
            Pin::new(&mut body).poll_frame(cx)
        });
        assert!(matches!(first.await, Some(Ok(_))));
        // What counts is how long it waits: the time in which it does something else is not the server's.
        tokio::time::sleep(2 * between_bytes).await;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        let late = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(matches!(late, Some(Err(Error::ConnectionReadTimeout))));
    })?;
    server.stop()
}
