//! `wasi:sockets/ip-name-lookup`: only names that the guest may look up, and what came of it is remembered, so that the
//! guest may connect to these addresses.

use crate::network::{GuestNetwork, normalised};
use std::net::IpAddr;
use wasmtime::Result;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::SocketError;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{Host, HostResolveAddressStream, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::sockets::WasiSocketsCtxView;

pub struct Lookup;

impl HasData for Lookup {
    type Data<'a> = LookupView<'a>;
}

pub struct LookupView<'a> {
    pub inner: WasiSocketsCtxView<'a>,
    pub network: GuestNetwork,
}

/// Whether it is an address and not a name; looking it up asks nobody.
fn is_literal(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(name).parse::<IpAddr>().is_ok()
}

impl Host for LookupView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        if !is_literal(&name) && !self.network.network.allows_name(&name) {
            self.network.refusals.count_name();
            return Err(ErrorCode::AccessDenied.into());
        }
        let known = normalised(&name);
        let stream = self.inner.resolve_addresses(network, name)?;
        self.network.names.begin(stream.rep(), known);
        Ok(stream)
    }
}

impl HostResolveAddressStream for LookupView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let lookup = stream.rep();
        let address = self.inner.resolve_next_address(stream)?;
        if let Some(address) = &address {
            self.network.names.found(lookup, as_ip(address));
        }
        Ok(address)
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> Result<Resource<DynPollable>> {
        self.inner.subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> Result<()> {
        self.network.names.end(stream.rep());
        HostResolveAddressStream::drop(&mut self.inner, stream)
    }
}

fn as_ip(address: &IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

impl network::Host for LookupView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        self.inner.network_error_code(error)
    }
}

impl network::HostNetwork for LookupView<'_> {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        network::HostNetwork::drop(&mut self.inner, network)
    }
}
