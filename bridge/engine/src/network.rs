//! What a guest may reach over the network, decided on the address that a connection really goes to.
//!
//! 1. A policy has rules for reaching others and rules for being reached. A guest with several policies may do what all
//!    of them allow, so that adding one never gives more.
//! 2. An address that is not public (private, loopback, link-local, metadata, multicast, …) is allowed only by a network
//!    that lies within such a range as a whole: neither a wide network nor a name opens one by accident. The name
//!    `localhost` is the one exception: it means loopback.
//! 3. A rule for a name allows the addresses that a look-up of that name gave to this guest, and no others.
//! 4. IPv4 inside IPv6 is judged as IPv4.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, rusm_bytes, rusm_status};
use crate::resolver::{Asker, Resolver};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmtime_wasi::sockets::SocketAddrUse;

/// Addresses that one guest remembers from its look-ups; the oldest are forgotten and then no longer allowed.
const ADDRESSES_MAX: usize = 256;
/// How long after its last look-up a name vouches for an address.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// Names that share one address, remembered for one guest.
const NAMES_PER_ADDRESS_MAX: usize = 8;

/// What a rule speaks of.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rusm_network_rule_kind {
    /// Every name and every public address.
    PUBLIC = 0,
    /// One name.
    HOST = 1,
    /// Every name below one, but not that name itself.
    SUBDOMAINS = 2,
    /// The addresses that begin with the same bits.
    NETWORK = 3,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_network_rule {
    /// A value of rusm_network_rule_kind.
    pub kind: u32,
    /// In lower case and without a dot at its end; for HOST and SUBDOMAINS.
    pub host: rusm_bytes,
    /// IPv6, or IPv4 as ::ffff:a.b.c.d; for NETWORK.
    pub address: [u8; 16],
    /// How many bits of `address` count, of 128: 96 more than for IPv4 alone.
    pub prefix_bits: u32,
    pub port_first: u16,
    pub port_last: u16,
}

/// What one capability says about the network.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rusm_network_policy {
    /// Where the guest may connect and send to.
    pub reach: *const rusm_network_rule,
    pub reach_count: usize,
    /// Which addresses of this machine it may listen on; NETWORK, or PUBLIC for all of them.
    pub listen: *const rusm_network_rule,
    pub listen_count: usize,
}

/// What was refused so far, over all guests of an engine.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct rusm_refusals {
    /// Connections, datagrams and listeners whose address is not allowed.
    pub addresses: u64,
    /// Look-ups of names that are not allowed.
    pub names: u64,
    /// Outgoing HTTP requests beyond `http_requests_max`.
    pub http_requests: u64,
}

/// Threads: any.
#[derive(Default)]
pub struct Refusals {
    addresses: AtomicU64,
    names: AtomicU64,
    http_requests: AtomicU64,
}

impl Refusals {
    // Plain counts that order nothing.
    pub fn count_address(&self) {
        self.addresses.fetch_add(1, Ordering::Relaxed);
    }
    pub fn count_name(&self) {
        self.names.fetch_add(1, Ordering::Relaxed);
    }
    pub fn count_http_request(&self) {
        self.http_requests.fetch_add(1, Ordering::Relaxed);
    }
    pub fn get(&self) -> rusm_refusals {
        rusm_refusals {
            addresses: self.addresses.load(Ordering::Relaxed),
            names: self.names.load(Ordering::Relaxed),
            http_requests: self.http_requests.load(Ordering::Relaxed),
        }
    }
}

/// IPv4 ranges that are not public: RFC 6890 and its successors, and the metadata service that Azure has on a public
/// address.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// IPv6 ranges that are not public though they lie in 2000::/3, and those outside of it that can be named.
const SPECIAL_V6: &[(u128, u32)] = &[
    (0x0000 << 112, 8), // unspecified, loopback, translations of IPv4
    (0x0100 << 112, 8),
    (0x2001 << 112, 23), // protocol assignments, Teredo
    (0x2001_0db8 << 96, 32),
    (0x2002 << 112, 16), // 6to4
    (0x3fff << 112, 20),
    (0xfc00 << 112, 7),
    (0xfe80 << 112, 10),
    (0xfec0 << 112, 10),
    (0xff00 << 112, 8),
];

const V4_MAPPED_BITS: u32 = 96;

fn same_prefix(a: u128, b: u128, bits: u32) -> bool {
    bits == 0 || (a ^ b) >> (128 - bits.min(128)) == 0
}

/// IPv4 as ::ffff:a.b.c.d, IPv6 as it is; IPv4 that hides in IPv6 comes out as IPv4.
fn as_bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn is_v4(bits: u128) -> bool {
    same_prefix(bits, u128::from(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()), V4_MAPPED_BITS)
}

/// The IPv4 address that a well-known translation prefix carries a connection to.
fn translated(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(v6),
        },
        v4 => v4,
    }
}

fn is_public(address: IpAddr) -> bool {
    match translated(address) {
        IpAddr::V4(v4) => !SPECIAL_V4
            .iter()
            .any(|(network, bits)| (v4.to_bits() ^ u32::from_be_bytes(*network)) >> (32 - bits) == 0),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            same_prefix(bits, 0x2000 << 112, 3) && !SPECIAL_V6.iter().any(|(net, len)| same_prefix(bits, *net, *len))
        }
    }
}

/// Whether the network lies as a whole within a range that is not public.
fn is_within_special(network: u128, bits: u32) -> bool {
    if bits >= V4_MAPPED_BITS && is_v4(network) {
        return SPECIAL_V4.iter().any(|(special, len)| {
            let special = u128::from(Ipv4Addr::from(*special).to_ipv6_mapped());
            bits >= len + V4_MAPPED_BITS && same_prefix(network, special, len + V4_MAPPED_BITS)
        });
    }
    SPECIAL_V6
        .iter()
        .any(|(special, len)| bits >= *len && same_prefix(network, *special, *len))
}

enum What {
    Public,
    Host(String),
    /// With the dot before it.
    Subdomains(String),
    Network {
        bits: u128,
        prefix: u32,
        is_v4: bool,
        special: bool,
    },
}

struct Rule {
    what: What,
    ports: std::ops::RangeInclusive<u16>,
}

impl Rule {
    /// # Safety
    /// `raw.host` must be valid during the call.
    unsafe fn new(raw: &rusm_network_rule) -> Result<Rule, Failure> {
        let invalid = |text: &str| Failure::new(rusm_status::INVALID_ARGUMENT, text);
        // SAFETY: by contract.
        let host = || unsafe { raw.host.to_text("the host of a network rule") };
        let what = match raw.kind {
            0 => What::Public,
            1 => What::Host(host()?),
            2 => What::Subdomains(format!(".{}", host()?)),
            3 if raw.prefix_bits > 128 => return Err(invalid("a network has at most 128 bits")),
            3 => {
                let bits = as_bits(IpAddr::V6(Ipv6Addr::from(raw.address)));
                What::Network {
                    bits,
                    prefix: raw.prefix_bits,
                    is_v4: is_v4(bits) && raw.prefix_bits >= V4_MAPPED_BITS,
                    special: is_within_special(bits, raw.prefix_bits),
                }
            }
            _ => return Err(invalid("a network rule of an unknown kind")),
        };
        Ok(Rule {
            what,
            ports: raw.port_first..=raw.port_last,
        })
    }

    fn allows_name(&self, name: &str) -> bool {
        match &self.what {
            What::Public => true,
            What::Host(host) => host == name,
            What::Subdomains(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
            What::Network { .. } => false,
        }
    }

    /// Whether the address lies in the rule's network.
    fn covers(&self, address: IpAddr) -> bool {
        let What::Network {
            bits,
            prefix,
            is_v4: rule_is_v4,
            ..
        } = &self.what
        else {
            return false;
        };
        let address = as_bits(address);
        is_v4(address) == *rule_is_v4 && same_prefix(address, *bits, *prefix)
    }

    fn reaches(&self, address: SocketAddr, names: &[String]) -> bool {
        if !self.ports.contains(&address.port()) {
            return false;
        }
        let ip = address.ip();
        match &self.what {
            What::Public => is_public(ip),
            What::Host(host) if host == "localhost" => {
                names.iter().any(|name| name == host) && ip.to_canonical().is_loopback()
            }
            What::Host(_) | What::Subdomains(_) => is_public(ip) && names.iter().any(|name| self.allows_name(name)),
            What::Network { special, .. } => self.covers(ip) && (*special || is_public(ip)),
        }
    }

    fn listens(&self, address: SocketAddr) -> bool {
        self.ports.contains(&address.port())
            && match &self.what {
                What::Public => true,
                What::Network { .. } => self.covers(address.ip()),
                What::Host(_) | What::Subdomains(_) => false,
            }
    }
}

struct Policy {
    reach: Vec<Rule>,
    listen: Vec<Rule>,
}

/// All policies of one capability set. Immutable but for its counts; any thread.
pub struct Network {
    policies: Vec<Policy>,
}

impl Network {
    /// # Safety
    /// All pointers must be valid during the call.
    pub unsafe fn new(raw: &[rusm_network_policy]) -> Result<Network, Failure> {
        let mut policies = Vec::with_capacity(raw.len());
        for policy in raw {
            let (mut reach, mut listen) = (Vec::new(), Vec::new());
            // SAFETY: by contract; the same below.
            for rule in unsafe { crate::grants::items(policy.reach, policy.reach_count) } {
                reach.push(unsafe { Rule::new(rule) }?);
            }
            for rule in unsafe { crate::grants::items(policy.listen, policy.listen_count) } {
                listen.push(unsafe { Rule::new(rule) }?);
            }
            policies.push(Policy { reach, listen });
        }
        Ok(Network { policies })
    }

    fn all(&self, allowed: impl Fn(&Policy) -> bool) -> bool {
        !self.policies.is_empty() && self.policies.iter().all(allowed)
    }

    /// Whether there is anything that could be allowed.
    pub fn is_some(&self) -> bool {
        self.all(|policy| !policy.reach.is_empty() || !policy.listen.is_empty())
    }

    /// `name` as a guest wrote it.
    pub fn allows_name(&self, name: &str) -> bool {
        let name = normalised(name);
        self.all(|policy| policy.reach.iter().any(|rule| rule.allows_name(&name)))
    }

    /// Whether a connection to `address` is allowed, given the names whose look-up gave it.
    pub fn reaches(&self, address: SocketAddr, names: &[String]) -> bool {
        self.all(|policy| policy.reach.iter().any(|rule| rule.reaches(address, names)))
    }

    fn listens(&self, address: SocketAddr) -> bool {
        self.all(|policy| policy.listen.iter().any(|rule| rule.listens(address)))
    }

    fn may_listen(&self) -> bool {
        self.all(|policy| !policy.listen.is_empty())
    }

    fn may_reach(&self) -> bool {
        self.all(|policy| !policy.reach.is_empty())
    }

    /// The answer to WASI's question about one use of an address.
    pub fn allows(&self, address: SocketAddr, what: SocketAddrUse, names: &Names) -> bool {
        match what {
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => {
                names.with(address.ip(), |n| self.reaches(address, n))
            }
            // Any port of any address is what a socket gets that only reaches out; listening is asked for on its own.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if address.port() == 0 && address.ip().is_unspecified() => {
                self.may_reach() || self.listens(address)
            }
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen | SocketAddrUse::UdpBind => self.listens(address),
            SocketAddrUse::TcpAccept => self.may_listen(),
            SocketAddrUse::UdpReceive => {
                self.may_listen() || names.with(address.ip(), |names| self.reaches(address, names))
            }
        }
    }
}

/// A name as rules have it: in lower case, without a dot at its end.
pub fn normalised(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[derive(Default)]
struct Known {
    addresses: HashMap<IpAddr, Gave>,
    look_ups: u64,
}

struct Gave {
    names: Vec<String>,
    /// When each of the names was looked up last.
    when: Vec<Instant>,
    /// The last of `Known::look_ups` that gave it.
    last: u64,
}

impl Gave {
    fn forget(&mut self, at: usize) {
        self.names.remove(at);
        self.when.remove(at);
    }
}

/// Which names gave which address to one guest. Threads: any; a look-up may end on a thread for I/O.
#[derive(Default)]
pub struct Names {
    known: Mutex<Known>,
}

impl Names {
    /// A look-up of `name` gave an address. What was found longest ago makes room.
    pub fn remember(&self, address: IpAddr, name: &str) {
        self.remember_at(address, name, Instant::now());
    }

    fn remember_at(&self, address: IpAddr, name: &str, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.to_canonical();
        if known.addresses.len() >= ADDRESSES_MAX && !known.addresses.contains_key(&address) {
            let oldest = known.addresses.iter().min_by_key(|(_, gave)| gave.last);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                known.addresses.remove(&oldest);
            }
        }
        known.look_ups += 1;
        let last = known.look_ups;
        let new = || Gave {
            names: Vec::new(),
            when: Vec::new(),
            last,
        };
        let gave = known.addresses.entry(address).or_insert_with(new);
        gave.last = last;
        let name = normalised(name);
        if let Some(at) = gave.names.iter().position(|known| *known == name) {
            gave.forget(at);
        } else if gave.names.len() >= NAMES_PER_ADDRESS_MAX {
            gave.forget(0);
        }
        gave.names.push(name);
        gave.when.push(now);
    }

    fn with<R>(&self, address: IpAddr, body: impl FnOnce(&[String]) -> R) -> R {
        self.with_at(address, Instant::now(), body)
    }

    fn with_at<R>(&self, address: IpAddr, now: Instant, body: impl FnOnce(&[String]) -> R) -> R {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let address = address.to_canonical();
        let Some(gave) = known.addresses.get_mut(&address) else {
            return body(&[]);
        };
        // The one that was looked up longest ago comes first.
        while gave
            .when
            .first()
            .is_some_and(|when| now.duration_since(*when) > AGE_MAX)
        {
            gave.forget(0);
        }
        let result = body(&gave.names);
        if gave.names.is_empty() {
            known.addresses.remove(&address);
        }
        result
    }
}

/// What the network looks like from one guest. It is asked also by tasks that outlive the guest for a moment, so it owns
/// or shares all that it needs.
#[derive(Clone)]
pub struct GuestNetwork {
    pub network: Arc<Network>,
    pub names: Arc<Names>,
    pub refusals: Arc<Refusals>,
    pub resolver: Arc<Resolver>,
    pub lookups: Arc<Asker>,
}

impl GuestNetwork {
    pub fn allows(&self, address: SocketAddr, what: SocketAddrUse) -> bool {
        let allowed = self.network.allows(address, what, &self.names);
        if !allowed {
            self.refusals.count_address();
        }
        allowed
    }
}

#[cfg(test)]
#[path = "network_test.rs"]
mod tests;
