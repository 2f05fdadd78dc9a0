//! A component made ready to run by one of its entries: imports resolved, exports found, once for all instances.

#![allow(non_camel_case_types)]

use crate::abi::{Failure, call, rusm_buffer, rusm_bytes, rusm_status};
use crate::artifact::{COMMAND_EXPORT, Code, HTTP_EXPORT, MODULE_COMMAND_EXPORT, rusm_component};
use crate::engine::rusm_engine;
use crate::guest::Guest;
use crate::imports;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex};
use wasmtime::{ExternType, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// What is called when an instance runs.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rusm_entry {
    /// `wasi:http/incoming-handler`: answers one request.
    HTTP = 0,
    /// `wasi:cli/run` of a component, `_start` of a core module.
    COMMAND = 1,
    /// A function at the top level, by name, without parameters and results.
    EXPORT = 2,
}

pub enum Entry {
    Http(ProxyPre<Guest>),
    Command(CommandPre<Guest>),
    Export {
        pre: wasmtime::component::InstancePre<Guest>,
        index: ComponentExportIndex,
    },
    Module {
        pre: wasmtime::InstancePre<Guest>,
        name: String,
        /// It imports WASI preview 1.
        wasi: bool,
    },
}

/// Threads: any; immutable.
pub struct rusm_program {
    pub(crate) engine: &'static rusm_engine,
    pub(crate) entry: Entry,
}

fn unsupported(text: impl Into<String>) -> Failure {
    Failure::new(rusm_status::UNSUPPORTED, text)
}

fn refused(error: wasmtime::Error) -> Failure {
    unsupported(format!("{error:#}"))
}

/// The names at the top level of a component, for messages.
fn exports(engine: &rusm_engine, component: &Component) -> String {
    let ty = component.component_type();
    let names: Vec<&str> = ty.exports(engine.wasmtime()).map(|(name, _)| name).collect();
    if names.is_empty() {
        "it exports nothing".to_owned()
    } else {
        format!("it exports {}", names.join(", "))
    }
}

fn component_entry(
    engine: &rusm_engine,
    component: &Component,
    entry: rusm_entry,
    name: &str,
) -> Result<Entry, Failure> {
    let ty = component.component_type();
    let has = |prefix: &str| {
        ty.exports(engine.wasmtime())
            .any(|(export, _)| export.starts_with(prefix))
    };
    match entry {
        rusm_entry::HTTP if !has(HTTP_EXPORT) => {
            return Err(unsupported(format!(
                "does not export wasi:http/incoming-handler@0.2, so it cannot answer HTTP requests; {}",
                exports(engine, component)
            )));
        }
        rusm_entry::COMMAND if !has(COMMAND_EXPORT) => {
            return Err(unsupported(format!(
                "does not export wasi:cli/run@0.2, so it cannot be run as a command; {}",
                exports(engine, component)
            )));
        }
        rusm_entry::EXPORT => match ty.get_export(engine.wasmtime(), name).map(|export| export.ty) {
            Some(ComponentItem::ComponentFunc(function))
                if function.params().len() == 0 && function.results().len() == 0 => {}
            Some(_) => {
                return Err(unsupported(format!(
                    "exports `{name}`, but not as a function without parameters and results"
                )));
            }
            None => {
                return Err(unsupported(format!(
                    "does not export a function `{name}`; {}",
                    exports(engine, component)
                )));
            }
        },
        _ => {}
    }
    if let Some(text) = imports::missing_of_component(engine.wasmtime(), component) {
        return Err(unsupported(text));
    }
    let pre = engine.component_linker()?.instantiate_pre(component).map_err(refused)?;
    Ok(match entry {
        rusm_entry::HTTP => Entry::Http(ProxyPre::new(pre).map_err(refused)?),
        rusm_entry::COMMAND => Entry::Command(CommandPre::new(pre).map_err(refused)?),
        rusm_entry::EXPORT => {
            let index = component
                .get_export_index(None, name)
                .ok_or_else(|| unsupported(format!("does not export `{name}`")))?;
            Entry::Export { pre, index }
        }
    })
}

fn module_entry(engine: &rusm_engine, module: &Module, entry: rusm_entry, name: &str) -> Result<Entry, Failure> {
    let name = match entry {
        rusm_entry::HTTP => {
            return Err(unsupported(
                "is a core module; only a component can answer HTTP requests (wasi:http/incoming-handler@0.2)",
            ));
        }
        rusm_entry::COMMAND => MODULE_COMMAND_EXPORT,
        rusm_entry::EXPORT => name,
    };
    match module.get_export(name) {
        Some(ExternType::Func(function)) if function.params().len() == 0 && function.results().len() == 0 => {}
        Some(_) => {
            return Err(unsupported(format!(
                "exports `{name}`, but not as a function without parameters and results"
            )));
        }
        None => return Err(unsupported(format!("does not export a function `{name}`"))),
    }
    if let Some(text) = imports::missing_of_module(module) {
        return Err(unsupported(text));
    }
    let pre = engine.module_linker()?.instantiate_pre(module).map_err(refused)?;
    Ok(Entry::Module {
        pre,
        name: name.to_owned(),
        wasi: imports::needs_wasi(module),
    })
}

/// Resolves imports and exports. `name` is the function's name for RUSM_ENTRY_EXPORT and ignored otherwise.
/// Fails with RUSM_STATUS_UNSUPPORTED for the wrong world or an import that nobody offers; the text names it.
/// The component may be freed afterwards. Threads: any.
///
/// # Safety
/// `component` must be live and its engine outlive the program; `name` valid during the call; `out` writable, `error`
/// null or writable. `entry` is a value of rusm_entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_program_new(
    component: *const rusm_component,
    entry: u32,
    name: rusm_bytes,
    out: *mut *mut rusm_program,
    error: *mut rusm_buffer,
) -> rusm_status {
    // SAFETY: by contract.
    unsafe {
        call(error, || {
            let component = component.as_ref().ok_or_else(|| Failure::null("component"))?;
            if out.is_null() {
                return Err(Failure::null("out"));
            }
            let entry = match entry {
                0 => rusm_entry::HTTP,
                1 => rusm_entry::COMMAND,
                2 => rusm_entry::EXPORT,
                other => {
                    return Err(Failure::new(
                        rusm_status::INVALID_ARGUMENT,
                        format!("{other} is no entry"),
                    ));
                }
            };
            let name = name.to_text("the name of the function")?;
            let engine = component.engine;
            let entry = match &component.code {
                Code::Component(component) => component_entry(engine, component, entry, &name)?,
                Code::Module(module) => module_entry(engine, module, entry, &name)?,
            };
            out.write(Box::into_raw(Box::new(rusm_program { engine, entry })));
            Ok(())
        })
    }
}

/// Threads: any. Every instance of the program must have been dropped. Null is allowed.
///
/// # Safety
/// `program` must be null or come from `rusm_program_new`, freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rusm_program_free(program: *mut rusm_program) {
    if !program.is_null() {
        // SAFETY: by contract.
        drop(unsafe { Box::from_raw(program) });
    }
}
