//! Collects the standard WASI 0.2 WIT files out of the `wasmtime-wasi-http` package that the workspace's lock file
//! names, so that guests are built against exactly the interfaces that the engine offers and no copy of them
//! lives in this repository.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The package whose `wit/deps` holds wasi:cli, clocks, filesystem, http, io, random and sockets.
const CARRIER: &str = "wasmtime-wasi-http";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    let files = wit_files(&carrier_dir()?.join("wit/deps"))?;
    let mut code = String::from("pub(crate) static FILES: &[(&str, &str)] = &[\n");
    for (name, path) in files {
        println!("cargo:rerun-if-changed={}", path.display());
        writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
    }
    code.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("wasi_wit.rs"), code)?;
    Ok(())
}

/// The unpacked source of the carrier package, downloaded if it is not there yet.
fn carrier_dir() -> Result<PathBuf, Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let metadata = |extra: &[&str]| {
        Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform"])
            .arg(env::var("TARGET").unwrap_or_default())
            .args(extra)
            .arg("--manifest-path")
            .arg(&manifest)
            .output()
    };
    // First without the network: after the first build everything is in cargo's cache.
    let mut output = metadata(&["--offline"])?;
    if !output.status.success() {
        output = metadata(&[])?;
    }
    if !output.status.success() {
        return Err(format!("cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata
        .get("packages")
        .and_then(|packages| packages.as_array())
        .ok_or("cargo metadata lists no packages")?;
    let carrier = packages
        .iter()
        .find(|package| package.get("name").is_some_and(|name| name == CARRIER))
        .and_then(|package| package.get("manifest_path")?.as_str())
        .and_then(|manifest| Path::new(manifest).parent())
        .ok_or_else(|| format!("{CARRIER} is not in bridge/Cargo.lock; it carries the WASI interface files"))?;
    Ok(carrier.to_path_buf())
}

fn wit_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".wit") {
            files.push((name.to_string(), path));
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{} holds no .wit files", dir.display()).into());
    }
    Ok(files)
}
