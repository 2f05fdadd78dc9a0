//! What a guest may import, and a clear word about what it may not.

use crate::guest::Guest;
use crate::lookup::Lookup;
use crate::{actor, actor_module, actor_v2};
use wasmtime::component::{Component, HasData, Linker, ResourceTable};
use wasmtime::{Engine, Module, Result};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{LinkOptions, cli, clocks, filesystem, io, random, sockets};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

/// The interfaces of WASI 0.2 that every guest finds; what they let it do is a matter of its grants.
const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

const PREVIEW1: &str = "wasi_snapshot_preview1";

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// All of WASI 0.2. Streams and polls go to the table alone, so a guest that only uses those never makes a WASI context.
pub fn component_linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::<Guest>::new(engine);
    let l = &mut linker;
    let options = LinkOptions::default();
    io::error::add_to_linker::<_, HasTable>(l, Guest::table)?;
    io::poll::add_to_linker::<_, HasTable>(l, Guest::table)?;
    io::streams::add_to_linker::<_, HasTable>(l, Guest::table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, Guest::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, Guest::random)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, Guest::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, Guest::filesystem)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(l, Guest::filesystem)?;
    sockets::tcp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::udp::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, Guest::sockets)?;
    sockets::network::add_to_linker::<_, WasiSockets>(l, &(&options).into(), Guest::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, Lookup>(l, Guest::lookup)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    actor::add_to_linker(l)?;
    actor_v2::add_to_linker(l)?;
    Ok(linker)
}

/// WASI preview 1 and the module `rusm`.
pub fn module_linker(engine: &Engine) -> Result<wasmtime::Linker<Guest>> {
    let mut linker = wasmtime::Linker::<Guest>::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, Guest::p1)?;
    actor_module::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// The component's imports that nobody here offers, if any, as a text.
pub fn missing_of_component(engine: &Engine, component: &Component) -> Option<String> {
    let ty = component.component_type();
    let missing: Vec<&str> = ty
        .imports(engine)
        .map(|(name, _)| name)
        .filter(|name| !offered(name))
        .collect();
    describe(&missing.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

/// The module's imports that nobody here offers, if any, as a text.
pub fn missing_of_module(module: &Module) -> Option<String> {
    let missing: Vec<String> = module
        .imports()
        .filter(|import| !module_offered(import.module(), import.name()))
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect();
    describe(&missing)
}

/// Whether a module needs a context of WASI preview 1, which takes as long to make as a small guest runs.
pub fn needs_wasi(module: &Module) -> bool {
    module.imports().any(|import| import.module() == PREVIEW1)
}

fn offered(name: &str) -> bool {
    match name.split_once('@') {
        Some((interface, version)) => {
            (INTERFACES.contains(&interface) && version.starts_with("0.2."))
                || (actor::INTERFACES.contains(&interface) && version == actor::VERSION)
                || (actor_v2::INTERFACES.contains(&interface) && version == actor_v2::VERSION)
        }
        None => false,
    }
}

fn module_offered(module: &str, name: &str) -> bool {
    module == PREVIEW1 || (module == actor_module::MODULE && actor_module::FUNCTIONS.contains(&name))
}

fn describe(missing: &[String]) -> Option<String> {
    const NAMED_MAX: usize = 3;
    if missing.is_empty() {
        return None;
    }
    let mut text = missing
        .iter()
        .take(NAMED_MAX)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if missing.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", missing.len() - NAMED_MAX));
    }
    Some(format!(
        "imports {text}, which this node does not offer; it offers WASI 0.2, rusm:runtime@{} and @{} (components), \
         {PREVIEW1} and {} (core modules)",
        actor::VERSION,
        actor_v2::VERSION,
        actor_module::MODULE
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_can_be_set_up() -> Result<()> {
        let engine = Engine::default();
        component_linker(&engine)?;
        module_linker(&engine)?;
        Ok(())
    }

    #[test]
    fn other_versions_and_names_are_not_offered() {
        assert!(offered("wasi:io/streams@0.2.3"));
        assert!(!offered("wasi:io/streams@0.3.0"));
        assert!(!offered("wasi:io/streams"));
        assert!(!offered("foo:bar/baz@0.2.0"));
        assert!(offered("rusm:runtime/actor@0.1.0"));
        assert!(offered("rusm:runtime/actor@0.2.0"));
        assert!(!offered("rusm:runtime/kv@0.2.0"));
        assert!(!offered("rusm:runtime/actor@0.3.0"));
        assert!(module_offered("rusm", "send"));
        assert!(!module_offered("rusm", "fork"));
    }
}
