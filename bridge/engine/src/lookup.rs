//! `wasi:sockets/ip-name-lookup`: only names that the guest may look up, and what came of it is remembered, so that the
//! guest may connect to these addresses.

use crate::network::{GuestNetwork, normalised};
use crate::resolver::{Answer, LookupError, NAME_BYTES_MAX};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use wasmtime::Result;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{Host, HostResolveAddressStream, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, subscribe};
use wasmtime_wasi::sockets::WasiSocketsCtxView;

pub struct Lookup;

impl HasData for Lookup {
    type Data<'a> = LookupView<'a>;
}

pub struct LookupView<'a> {
    pub inner: WasiSocketsCtxView<'a>,
    pub network: GuestNetwork,
}

/// The address, if it is one and not a name; looking it up asks nobody.
fn literal(name: &str) -> Option<IpAddr> {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(name).parse().ok()
}

fn error_code(error: LookupError) -> ErrorCode {
    match error {
        LookupError::NoName => ErrorCode::InvalidArgument,
        LookupError::Busy => ErrorCode::TemporaryResolverFailure,
        LookupError::NoAddress => ErrorCode::NameUnresolvable,
    }
}

enum Found {
    Asked(Answer),
    Known(std::result::Result<std::vec::IntoIter<IpAddr>, ErrorCode>),
}

/// What stands in the guest's table behind its `resolve-address-stream`.
struct AddressStream {
    found: Found,
    /// What was looked up, normalised; None for an address.
    name: Option<String>,
}

impl AddressStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Found::Asked(answer) = &mut self.found else {
            return Poll::Ready(());
        };
        Pin::new(answer).poll(cx).map(|found| {
            let plain = |found: Vec<IpAddr>| found.iter().map(IpAddr::to_canonical).collect::<Vec<_>>();
            self.found = Found::Known(found.map(|found| plain(found).into_iter()).map_err(error_code));
        })
    }
}

#[async_trait]
impl Pollable for AddressStream {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }
}

/// The same entry of the table by its own type.
fn entry(stream: &Resource<ResolveAddressStream>) -> Resource<AddressStream> {
    Resource::new_borrow(stream.rep())
}

impl Host for LookupView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        // The handle stands for the right to ask at all.
        self.inner.table.get(&network)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(ErrorCode::InvalidArgument.into());
        }
        let (found, name) = match literal(&name) {
            Some(address) => (Found::Known(Ok(vec![address].into_iter())), None),
            None if !self.network.network.allows_name(&name) => {
                self.network.refusals.count_name();
                return Err(ErrorCode::AccessDenied.into());
            }
            None => {
                let answer = self.network.resolver.look_up(&self.network.lookups, &name);
                (Found::Asked(answer.map_err(error_code)?), Some(normalised(&name)))
            }
        };
        let stream = self.inner.table.push(AddressStream { found, name })?;
        Ok(Resource::new_own(stream.rep()))
    }
}

impl HostResolveAddressStream for LookupView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let stream = self.inner.table.get_mut(&entry(&stream))?;
        // Who wants to be woken subscribes.
        let Poll::Ready(()) = stream.poll_ready(&mut Context::from_waker(Waker::noop())) else {
            return Err(ErrorCode::WouldBlock.into());
        };
        match &mut stream.found {
            Found::Asked(_) => Err(ErrorCode::WouldBlock.into()),
            Found::Known(Err(error)) => Err((*error).into()),
            Found::Known(Ok(addresses)) => {
                let address = addresses.next();
                if let (Some(address), Some(name)) = (address, &stream.name) {
                    self.network.names.remember(address, name);
                }
                Ok(address.map(Into::into))
            }
        }
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> Result<Resource<DynPollable>> {
        subscribe(self.inner.table, entry(&stream))
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> Result<()> {
        self.inner
            .table
            .delete(Resource::<AddressStream>::new_own(stream.rep()))?;
        Ok(())
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
