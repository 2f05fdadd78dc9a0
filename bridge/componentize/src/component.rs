//! A component out of a core module.

use anyhow::{Context, Result, anyhow, bail};
use wasi_preview1_component_adapter_provider as provider;
use wasmparser::{Encoding, FunctionBody, Operator, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::World;

/// The module that translates WASI preview 1, which compilers' C libraries call, to WASI 0.2. It makes a component
/// bigger and each start slower, so a guest that calls nothing of preview 1 gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// If the module imports preview 1: by what it exports, a command, an HTTP handler or a plain library.
    Auto,
    /// Never: a module that imports preview 1 is refused, naming what it imports.
    None,
}

/// What decides how a module is wrapped.
#[derive(Default)]
struct Outline {
    has_world: bool,
    has_start: bool,
    has_http_handler: bool,
    preview1_imports: Vec<String>,
    has_realloc: bool,
    /// Functions that ask how much memory there is.
    functions_with_memory_size: usize,
}

/// Wraps the core module `wasm` into a component. The world is the one that the module carries in its custom
/// section (bindings generators put it there); `world` is needed only where the linker removed that section.
/// The result is validated. Errors: not a core module, no world, imports or exports that do not fit the world.
pub fn component(wasm: &[u8], world: Option<&World>, adapter: Adapter) -> Result<Vec<u8>> {
    let outline = outline(wasm)?;
    let mut module = wasm.to_vec();
    match world {
        Some(world) if !outline.has_world => {
            embed_component_metadata(&mut module, &world.resolve, world.id, StringEncoding::UTF8)
                .context("cannot describe the world inside the module")?;
        }
        None if !outline.has_world && outline.preview1_imports.is_empty() => bail!(
            "the module does not say for which world it was made: link the bindings' _component_type.o \
             without --strip-all, or name the WIT folder and the world"
        ),
        _ => {}
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(&module)?;
    if let Some(bytes) = adapter_for(&outline, adapter)? {
        encoder = encoder.adapter(provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, bytes)?;
    }
    encoder.encode().context("the module does not fit its world")
}

/// Whether the module and the adapter would use the same memory: true of a command whose malloc takes all memory that is
/// there when it is first called, as that of wasi-libc before 2023 does (Debian 12's), and of stock Go. The adapter's own
/// memory is there by then. Recognised by its asking for the size of memory elsewhere than where it grows it; a module
/// that exports `cabi_realloc` is asked for that memory instead.
pub fn shares_memory_with_adapter(wasm: &[u8]) -> Result<bool> {
    let outline = outline(wasm)?;
    let is_wrapped = outline.has_start && !outline.preview1_imports.is_empty();
    Ok(is_wrapped && !outline.has_realloc && outline.functions_with_memory_size > 1)
}

fn asks_for_memory_size(body: &FunctionBody) -> Result<bool> {
    for operator in body.get_operators_reader()? {
        if matches!(operator?, Operator::MemorySize { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn adapter_for(outline: &Outline, adapter: Adapter) -> Result<Option<&'static [u8]>> {
    if outline.preview1_imports.is_empty() {
        return Ok(None);
    }
    match adapter {
        Adapter::None => Err(anyhow!(
            "the module imports WASI preview 1, but no adapter was wanted; it calls: {}",
            outline.preview1_imports.join(", ")
        )),
        Adapter::Auto if outline.has_start => Ok(Some(provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)),
        Adapter::Auto if outline.has_http_handler => Ok(Some(provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER)),
        Adapter::Auto => Ok(Some(provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)),
    }
}

fn outline(wasm: &[u8]) -> Result<Outline> {
    let mut outline = Outline::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.context("this is not a WebAssembly module")? {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } => bail!("this is a component already"),
            Payload::CustomSection(section) if section.name().starts_with("component-type") => outline.has_world = true,
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if import.module == provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME {
                        outline.preview1_imports.push(import.name.to_string());
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let name = export?.name;
                    outline.has_start |= name == "_start";
                    outline.has_realloc |= name == "cabi_realloc";
                    outline.has_http_handler |= name.starts_with("wasi:http/incoming-handler@");
                }
            }
            Payload::CodeSectionEntry(body) => {
                outline.functions_with_memory_size += usize::from(asks_for_memory_size(&body)?);
            }
            _ => {}
        }
    }
    Ok(outline)
}
