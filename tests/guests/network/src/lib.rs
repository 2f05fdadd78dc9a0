//! `connect ADDRESS`, `lookup NAME`, `named NAME PORT` (looks up, then connects), `listen ADDRESS`, `bind ADDRESS`,
//! `send ADDRESS` (a datagram), `talk ADDRESS BYTES` (over TCP, until all of them came back), `ask ADDRESS` (a datagram,
//! and waits for its answer), `serve ADDRESS` (tells its port, answers one client with what it sent): writes `ok` or the name of the error, once for each three arguments.

use wasip2::io::poll::poll;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::OutgoingDatagram;
use wasip2::sockets::udp_create_socket::create_udp_socket;

fn socket_address(ip: IpAddress, port: u16) -> IpSocketAddress {
    match ip {
        IpAddress::Ipv4(address) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address }),
        IpAddress::Ipv6(address) => IpSocketAddress::Ipv6(Ipv6SocketAddress {
            port,
            flow_info: 0,
            address,
            scope_id: 0,
        }),
    }
}

fn parse(text: &str) -> IpSocketAddress {
    let address: std::net::SocketAddr = text.parse().expect("an address");
    let ip = match address.ip() {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            IpAddress::Ipv4((a, b, c, d))
        }
        std::net::IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    };
    socket_address(ip, address.port())
}

fn family(address: &IpSocketAddress) -> IpAddressFamily {
    match address {
        IpSocketAddress::Ipv4(_) => IpAddressFamily::Ipv4,
        IpSocketAddress::Ipv6(_) => IpAddressFamily::Ipv6,
    }
}

struct Connection {
    // A socket goes after its streams.
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
}

fn connection(network: &Network, to: IpSocketAddress) -> Result<Connection, ErrorCode> {
    let socket = create_tcp_socket(family(&to))?;
    socket.start_connect(network, to)?;
    loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            done => return done.map(|(input, output)| Connection { input, output, socket }),
        }
    }
}

fn connect(network: &Network, to: IpSocketAddress) -> Result<(), ErrorCode> {
    connection(network, to).map(drop)
}

/// Both directions at once, each as fast as the other side takes it.
fn talk(network: &Network, to: IpSocketAddress, bytes: usize) -> Result<(), ErrorCode> {
    let Connection { socket, input, output } = connection(network, to)?;
    let byte_at = |place: usize| (place % 251) as u8;
    let (mut sent, mut came) = (0, 0);
    let (readable, writable) = (input.subscribe(), output.subscribe());
    while came < bytes {
        if sent < bytes {
            poll(&[&readable, &writable]);
        } else {
            readable.block();
        }
        if sent < bytes {
            let room = output.check_write().map_err(|_| ErrorCode::ConnectionReset)? as usize;
            let piece: Vec<u8> = (sent..bytes.min(sent + room)).map(byte_at).collect();
            output.write(&piece).map_err(|_| ErrorCode::ConnectionReset)?;
            sent += piece.len();
        }
        for byte in input.read(65536).map_err(|_| ErrorCode::ConnectionReset)? {
            if byte != byte_at(came) {
                return Err(ErrorCode::InvalidState);
            }
            came += 1;
        }
    }
    // Nothing follows: the other side is told, and tells the same.
    socket.shutdown(ShutdownType::Send)?;
    match input.blocking_read(1) {
        Err(StreamError::Closed) => Ok(()),
        _ => Err(ErrorCode::InvalidState),
    }
}

fn serve(network: &Network, at: IpSocketAddress, tell: impl Fn(u16)) -> Result<(), ErrorCode> {
    let listener = create_tcp_socket(family(&at))?;
    listener.start_bind(network, at)?;
    listener.finish_bind()?;
    listener.start_listen()?;
    listener.finish_listen()?;
    match listener.local_address()? {
        IpSocketAddress::Ipv4(address) => tell(address.port),
        IpSocketAddress::Ipv6(address) => tell(address.port),
    }
    let (_socket, input, output) = loop {
        match listener.accept() {
            Err(ErrorCode::WouldBlock) => listener.subscribe().block(),
            done => break done?,
        }
    };
    loop {
        match input.blocking_read(4096) {
            Ok(piece) => output
                .blocking_write_and_flush(&piece)
                .map_err(|_| ErrorCode::ConnectionReset)?,
            Err(StreamError::Closed) => return Ok(()),
            Err(_) => return Err(ErrorCode::ConnectionReset),
        }
    }
}

fn ask(network: &Network, to: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_udp_socket(family(&to))?;
    socket.start_bind(network, parse("0.0.0.0:0"))?;
    socket.finish_bind()?;
    let (incoming, outgoing) = socket.stream(None)?;
    outgoing.subscribe().block();
    outgoing.check_send()?;
    let data = b"a question".to_vec();
    outgoing.send(&[OutgoingDatagram {
        data,
        remote_address: Some(to),
    }])?;
    incoming.subscribe().block();
    let answers = incoming.receive(8)?;
    match answers.first() {
        Some(answer) if answer.data == b"A QUESTION" => Ok(()),
        _ => Err(ErrorCode::Unknown),
    }
}

fn listen(network: &Network, at: IpSocketAddress, listens: bool) -> Result<(), ErrorCode> {
    let socket = create_tcp_socket(family(&at))?;
    socket.start_bind(network, at)?;
    socket.finish_bind()?;
    if listens {
        socket.start_listen()?;
        socket.finish_listen()?;
    }
    Ok(())
}

fn send(network: &Network, to: IpSocketAddress) -> Result<(), ErrorCode> {
    let socket = create_udp_socket(family(&to))?;
    let any = match to {
        IpSocketAddress::Ipv4(_) => parse("0.0.0.0:0"),
        IpSocketAddress::Ipv6(_) => parse("[::]:0"),
    };
    socket.start_bind(network, any)?;
    socket.finish_bind()?;
    let (_incoming, outgoing) = socket.stream(None)?;
    outgoing.subscribe().block();
    outgoing.check_send()?;
    let datagram = OutgoingDatagram {
        data: b"a datagram".to_vec(),
        remote_address: Some(to),
    };
    outgoing.send(&[datagram])?;
    // What came of it may be told with the next call.
    outgoing.subscribe().block();
    outgoing.check_send().map(drop)
}

fn lookup(network: &Network, name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let stream = resolve_addresses(network, name)?;
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => found.push(address),
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
            Err(error) => return Err(error),
        }
    }
}

fn named(network: &Network, name: &str, port: u16) -> Result<(), ErrorCode> {
    let mut last = Err(ErrorCode::NameUnresolvable);
    for address in lookup(network, name)? {
        last = connect(network, socket_address(address, port));
        if last.is_ok() {
            break;
        }
    }
    last
}

struct Command;

impl wasip2::exports::cli::run::Guest for Command {
    fn run() -> Result<(), ()> {
        let network = instance_network();
        let stdout = wasip2::cli::stdout::get_stdout();
        let arguments = wasip2::cli::environment::get_arguments();
        for words in arguments[1..].chunks(3) {
            let result = match words[0].as_str() {
                "connect" => connect(&network, parse(&words[1])),
                "lookup" => lookup(&network, &words[1]).map(drop),
                "named" => named(&network, &words[1], words[2].parse().map_err(drop)?),
                "listen" => listen(&network, parse(&words[1]), true),
                "bind" => listen(&network, parse(&words[1]), false),
                "send" => send(&network, parse(&words[1])),
                "talk" => talk(&network, parse(&words[1]), words[2].parse().map_err(drop)?),
                "ask" => ask(&network, parse(&words[1])),
                "serve" => serve(&network, parse(&words[1]), |port| {
                    let _ = stdout.blocking_write_and_flush(format!("port {port}\n").as_bytes());
                }),
                _ => return Err(()),
            };
            let said = match result {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.name().to_owned(),
            };
            let line = format!("{} {}: {said}\n", words[0], words[1]);
            stdout.blocking_write_and_flush(line.as_bytes()).map_err(drop)?;
        }
        Ok(())
    }
}

wasip2::cli::command::export!(Command);
