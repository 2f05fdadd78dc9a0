use super::*;

fn rule(text: &str) -> Rule {
    let (what, port) = match text.rsplit_once(':') {
        Some((what, port)) if !what.ends_with(':') && port.parse::<u16>().is_ok() => (what, port),
        _ => (text, "0"),
    };
    let port: u16 = port.parse().unwrap_or(0);
    let ports = if port == 0 { (0, u16::MAX) } else { (port, port) };
    let mut raw = rusm_network_rule {
        kind: rusm_network_rule_kind::PUBLIC as u32,
        host: rusm_bytes::EMPTY,
        address: [0; 16],
        prefix_bits: 0,
        port_first: ports.0,
        port_last: ports.1,
    };
    let host = what.trim_start_matches("*.").to_owned();
    if what == "*" {
    } else if let Some((address, bits)) = what.split_once('/') {
        let address: IpAddr = address
            .trim_matches(['[', ']'])
            .parse()
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let extra = if address.is_ipv4() { 96 } else { 0 };
        raw.kind = rusm_network_rule_kind::NETWORK as u32;
        raw.address = as_bits(address).to_be_bytes();
        raw.prefix_bits = bits.parse::<u32>().unwrap_or(0) + extra;
    } else {
        let below = what.starts_with("*.");
        raw.kind = if below {
            rusm_network_rule_kind::SUBDOMAINS
        } else {
            rusm_network_rule_kind::HOST
        } as u32;
        raw.host = rusm_bytes::of(host.as_bytes());
    }
    // SAFETY: the host lives to the end of this function.
    match unsafe { Rule::new(&raw) } {
        Ok(rule) => rule,
        Err(failure) => std::panic::panic_any(failure.text),
    }
}

fn network(policies: &[(&[&str], &[&str])]) -> Network {
    let rules = |texts: &[&str]| texts.iter().map(|text| rule(text)).collect();
    Network {
        policies: policies
            .iter()
            .map(|(reach, listen)| Policy {
                reach: rules(reach),
                listen: rules(listen),
            })
            .collect(),
    }
}

fn reach(rules: &[&str]) -> Network {
    network(&[(rules, &[])])
}

fn address(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(address) => address,
        Err(_) => std::panic::panic_any(format!("{text} is no address")),
    }
}

fn allows(network: &Network, to: &str) -> bool {
    network.allows(address(to), SocketAddrUse::TcpConnect, &Names::default())
}

fn allows_after(network: &Network, name: &str, to: &str) -> bool {
    let names = Names::default();
    names.remember(address(to).ip(), name);
    network.allows(address(to), SocketAddrUse::TcpConnect, &names)
}

#[test]
fn nothing_is_allowed_without_a_policy_or_without_a_rule() {
    for network in [network(&[]), network(&[(&[], &[])])] {
        assert!(!allows(&network, "93.184.216.34:80"));
        assert!(!network.allows_name("example.com"));
        assert!(!network.is_some());
        assert!(!network.allows(address("0.0.0.0:0"), SocketAddrUse::TcpBind, &Names::default()));
    }
}

const SPECIAL: &[&str] = &[
    "0.0.0.0:80",
    "10.1.2.3:80",
    "100.64.0.1:80",
    "100.100.100.200:80",
    "127.0.0.1:80",
    "127.255.255.254:80",
    "168.63.129.16:80",
    "169.254.169.254:80",
    "172.16.0.1:80",
    "172.31.255.255:80",
    "192.0.0.192:80",
    "192.168.1.1:80",
    "198.18.0.1:80",
    "224.0.0.1:80",
    "255.255.255.255:80",
    "[::]:80",
    "[::1]:80",
    "[::127.0.0.1]:80",
    "[::ffff:127.0.0.1]:80",
    "[::ffff:169.254.169.254]:80",
    "[64:ff9b::7f00:1]:80",
    "[64:ff9b::a9fe:a9fe]:80",
    "[64:ff9b:1::1]:80",
    "[2002:7f00:1::]:80",
    "[2001::1]:80",
    "[fc00::1]:80",
    "[fd00:ec2::254]:80",
    "[fe80::1]:80",
    "[fec0::1]:80",
    "[ff02::1]:80",
    "[4000::1]:80",
];

#[test]
fn what_is_not_public_is_refused_to_wide_rules_and_to_names() {
    let wide = reach(&["*", "0.0.0.0/0", "[::]/0", "evil.example"]);
    for special in SPECIAL {
        assert!(!allows(&wide, special), "{special}");
        assert!(!allows_after(&wide, "evil.example", special), "{special} by its name");
    }
    for public in [
        "93.184.216.34:80",
        "172.32.0.1:80",
        "[2606:4700::1]:80",
        "[64:ff9b::808:808]:53",
    ] {
        assert!(allows(&wide, public), "{public}");
    }
}

#[test]
fn a_network_within_a_range_opens_that_part_of_it() {
    let private = reach(&[
        "10.0.0.0/8:5432",
        "169.254.169.254/32",
        "[fd00:ec2::254]/128",
        "[::1]/128",
    ]);
    assert!(allows(&private, "10.200.0.1:5432"));
    assert!(allows(&private, "[::ffff:10.200.0.1]:5432"));
    assert!(!allows(&private, "10.200.0.1:5433"));
    assert!(!allows(&private, "11.0.0.1:5432"));
    assert!(allows(&private, "169.254.169.254:80"));
    assert!(!allows(&private, "169.254.169.253:80"));
    assert!(allows(&private, "[fd00:ec2::254]:80"));
    assert!(allows(&private, "[::1]:80"));
    assert!(!allows(&private, "127.0.0.1:80"));
}

#[test]
fn a_network_of_ipv6_says_nothing_of_ipv4() {
    let v6 = reach(&["[::]/8", "[::]/0"]);
    assert!(!allows(&v6, "10.0.0.1:80"));
    assert!(!allows(&v6, "8.8.8.8:80"));
    assert!(!allows(&v6, "[::ffff:10.0.0.1]:80"));
}

#[test]
fn a_name_allows_the_addresses_that_its_look_up_gave() {
    let named = reach(&["api.example.com:443", "*.cdn.example"]);
    assert!(named.allows_name("API.Example.com."));
    assert!(named.allows_name("a.b.cdn.example"));
    for other in [
        "example.com",
        "cdn.example",
        "xcdn.example",
        "api.example.com.evil.org",
        "localhost",
    ] {
        assert!(!named.allows_name(other), "{other}");
    }
    assert!(!allows(&named, "93.184.216.34:443"), "nobody looked it up");
    assert!(allows_after(&named, "api.example.com", "93.184.216.34:443"));
    assert!(!allows_after(&named, "api.example.com", "93.184.216.34:80"));
    assert!(allows_after(&named, "img.cdn.example", "93.184.216.34:80"));
    assert!(!allows_after(&named, "other.example", "93.184.216.34:443"));
}

#[test]
fn localhost_means_loopback_and_nothing_else() {
    let local = reach(&["localhost:8080"]);
    assert!(allows_after(&local, "localhost", "127.0.0.1:8080"));
    assert!(allows_after(&local, "localhost", "[::1]:8080"));
    assert!(!allows_after(&local, "localhost", "127.0.0.1:8081"));
    assert!(!allows_after(&local, "localhost", "10.0.0.1:8080"));
    assert!(!allows(&local, "127.0.0.1:8080"));
}

#[test]
fn several_policies_allow_what_all_of_them_allow() {
    let both = network(&[
        (&["*"], &["127.0.0.1/32"]),
        (&["api.example.com:443", "10.0.0.0/8"], &[]),
    ]);
    assert!(allows_after(&both, "api.example.com", "93.184.216.34:443"));
    assert!(!allows(&both, "93.184.216.34:443"));
    assert!(!allows(&both, "10.0.0.1:443"), "only one of the two names it");
    assert!(both.allows_name("api.example.com"));
    assert!(!both.allows_name("example.org"));
    assert!(!both.allows(address("127.0.0.1:0"), SocketAddrUse::TcpListen, &Names::default()));
}

#[test]
fn listening_needs_its_own_rule() {
    let names = Names::default();
    let client = reach(&["*"]);
    assert!(client.allows(address("0.0.0.0:0"), SocketAddrUse::TcpBind, &names));
    assert!(client.allows(address("[::]:0"), SocketAddrUse::UdpBind, &names));
    for what in [SocketAddrUse::TcpListen, SocketAddrUse::TcpBind, SocketAddrUse::UdpBind] {
        assert!(!client.allows(address("0.0.0.0:40000"), what, &names));
        assert!(!client.allows(address("127.0.0.1:0"), what, &names));
    }
    assert!(!client.allows(address("0.0.0.0:0"), SocketAddrUse::TcpListen, &names));
    assert!(!client.allows(address("93.184.216.34:4000"), SocketAddrUse::TcpAccept, &names));
    assert!(client.allows(address("93.184.216.34:4000"), SocketAddrUse::UdpReceive, &names));
    assert!(!client.allows(address("10.0.0.1:4000"), SocketAddrUse::UdpReceive, &names));
    let server = network(&[(&[], &["127.0.0.1/32:8080"])]);
    assert!(server.allows(address("127.0.0.1:8080"), SocketAddrUse::TcpBind, &names));
    assert!(server.allows(address("127.0.0.1:8080"), SocketAddrUse::TcpListen, &names));
    assert!(server.allows(address("10.0.0.1:4000"), SocketAddrUse::TcpAccept, &names));
    assert!(!server.allows(address("127.0.0.1:8081"), SocketAddrUse::TcpBind, &names));
    assert!(!server.allows(address("93.184.216.34:80"), SocketAddrUse::TcpConnect, &names));
}

#[test]
fn what_a_guest_remembers_is_bounded() {
    let names = Names::default();
    for n in 0..(ADDRESSES_MAX as u32 + 10) {
        names.remember(IpAddr::V4(Ipv4Addr::from(0x0800_0000 + n)), "a.example");
    }
    // The oldest went, the newest are there.
    for (n, remembered) in [(0, false), (9, false), (10, true), (ADDRESSES_MAX as u32 + 9, true)] {
        let address = IpAddr::V4(Ipv4Addr::from(0x0800_0000 + n));
        names.with(address, |known| assert_eq!(!known.is_empty(), remembered, "{n}"));
    }
    for n in 0..100 {
        names.remember(IpAddr::V4(Ipv4Addr::new(8, 0, 0, 0)), &format!("{n}.example"));
    }
    names.with(IpAddr::V4(Ipv4Addr::new(8, 0, 0, 0)), |known| {
        assert_eq!(known.len(), NAMES_PER_ADDRESS_MAX);
        assert!(known.contains(&"99.example".to_owned()));
    });
}

#[test]
fn what_a_guest_remembers_ends_an_hour_after_its_last_look_up() {
    let names = Names::default();
    let to = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
    let begun = Instant::now();
    let minutes = |count: u64| begun + Duration::from_secs(60 * count);
    names.remember_at(to, "a.example", begun);
    names.remember_at(to, "b.example", minutes(10));
    names.remember_at(to, "a.example", minutes(20));
    let known = |now| names.with_at(to, now, |names| names.to_vec());
    assert_eq!(known(minutes(70)), ["b.example", "a.example"]);
    assert_eq!(known(minutes(71)), ["a.example"], "b was looked up an hour ago");
    assert_eq!(known(minutes(81)), [""; 0]);
    names.remember_at(to, "b.example", minutes(90));
    assert_eq!(known(minutes(90)), ["b.example"]);
}
