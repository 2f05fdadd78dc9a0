//! The command line over the library: see `rusm-componentize --help`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use pico_args::Arguments;
use rusm_componentize::{Adapter, World, bindings_c, component, shares_memory_with_adapter, write_wasi_wit};

const HELP: &str = "\
Makes WebAssembly components out of core modules, and C bindings out of WIT.

  rusm-componentize bindings-c [--wit DIR] --world WORLD --out DIR
      Writes WORLD.h, WORLD.c and WORLD_component_type.o for a C or C++ guest.

  rusm-componentize component --in CORE.wasm --out COMPONENT.wasm [--wit DIR] [--world WORLD] [--adapter auto|none]
      Wraps a core module. The world is read from the module; --world is for modules that lost it when
      they were stripped. With `auto`, the default, a module that imports WASI preview 1 gets the adapter that
      fits it; with `none` such a module is refused.

  rusm-componentize wit --out DIR
      Writes the standard WASI 0.2 packages to DIR/deps.

WIT folders may refer to the standard WASI packages without carrying them. Without --wit the world is one of theirs,
by its full name: wasi:http/proxy@0.2.12.
";

fn main() -> ExitCode {
    match run(Arguments::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rusm-componentize: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments) -> Result<()> {
    if arguments.contains(["-h", "--help"]) {
        print!("{HELP}");
        return Ok(());
    }
    match arguments.subcommand()?.as_deref() {
        Some("bindings-c") => run_bindings_c(arguments),
        Some("component") => run_component(arguments),
        Some("wit") => run_wit(arguments),
        Some(other) => bail!("there is no command `{other}`; see --help"),
        None => bail!("name a command; see --help"),
    }
}

fn run_bindings_c(mut arguments: Arguments) -> Result<()> {
    let wit = optional_path(&mut arguments, "--wit")?;
    let world: String = arguments.value_from_str("--world")?;
    let out = path(&mut arguments, "--out")?;
    expect_no_more(arguments)?;
    bindings_c(World::load(wit.as_deref(), &world)?, &out)
}

fn run_component(mut arguments: Arguments) -> Result<()> {
    let input = path(&mut arguments, "--in")?;
    let out = path(&mut arguments, "--out")?;
    let wit = optional_path(&mut arguments, "--wit")?;
    let world: Option<String> = arguments.opt_value_from_str("--world")?;
    let adapter = match arguments.opt_value_from_str::<_, String>("--adapter")?.as_deref() {
        None | Some("auto") => Adapter::Auto,
        Some("none") => Adapter::None,
        Some(other) => bail!("--adapter is `auto` or `none`, not `{other}`"),
    };
    expect_no_more(arguments)?;
    let world = match (&wit, &world) {
        (_, Some(name)) => Some(World::load(wit.as_deref(), name)?),
        (Some(_), None) => bail!("--wit needs --world: a folder may hold several worlds"),
        (None, None) => None,
    };
    let wasm = fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
    let bytes = component(&wasm, world.as_ref(), adapter).with_context(|| input.display().to_string())?;
    if shares_memory_with_adapter(&wasm)? {
        eprintln!(
            "rusm-componentize: warning: {}: its malloc takes all memory that is there for its own, that of the adapter, \
             too (wasi-libc before 2023, Go): it will fail once it uses more than a little. Run the module as it is.",
            input.display()
        );
    }
    write_whole(&out, &bytes)
}

fn run_wit(mut arguments: Arguments) -> Result<()> {
    let out = path(&mut arguments, "--out")?;
    expect_no_more(arguments)?;
    write_wasi_wit(&out)
}

/// A reader never sees half a component: the bytes get their name only when they are all there.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

fn path(arguments: &mut Arguments, key: &'static str) -> Result<PathBuf> {
    optional_path(arguments, key)?.with_context(|| format!("{key} is missing; see --help"))
}

fn optional_path(arguments: &mut Arguments, key: &'static str) -> Result<Option<PathBuf>> {
    Ok(arguments.opt_value_from_os_str(key, |value| Ok::<_, std::convert::Infallible>(PathBuf::from(value)))?)
}

fn expect_no_more(arguments: Arguments) -> Result<()> {
    let rest: Vec<OsString> = arguments.finish();
    match rest.first() {
        None => Ok(()),
        Some(first) => bail!("`{}` is not understood here; see --help", first.to_string_lossy()),
    }
}
