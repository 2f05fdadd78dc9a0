//! The standard WASI 0.2 packages that every world may refer to.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use wit_parser::UnresolvedPackageGroup;

include!(concat!(env!("OUT_DIR"), "/wasi_wit.rs"));

/// Writes the standard WASI packages as `out/deps/NAME.wit`, the layout that WIT tools expect beside a world.
pub fn write_wasi_wit(out: &Path) -> Result<()> {
    let deps = out.join("deps");
    fs::create_dir_all(&deps).with_context(|| format!("cannot create {}", deps.display()))?;
    for (name, text) in FILES {
        let path = deps.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The standard WASI packages, parsed but not yet resolved against each other.
pub(crate) fn packages() -> Result<Vec<UnresolvedPackageGroup>> {
    FILES
        .iter()
        .map(|(name, text)| {
            UnresolvedPackageGroup::parse(name, text).map_err(|(map, error)| anyhow!(error.render(&map)))
        })
        .collect()
}
