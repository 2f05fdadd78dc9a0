//! C bindings of a world.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_bindgen_core::Files;

use crate::World;

/// Writes `WORLD.h`, `WORLD.c` and `WORLD_component_type.o` into `out`. The object holds no code: linked into a guest,
/// it says which world the module was made for, so that [`crate::component`] needs no WIT.
///
/// Files that already have the right content are left alone, which keeps their time and so an incremental build quiet.
pub fn bindings_c(mut world: World, out: &Path) -> Result<()> {
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut world.resolve, world.id, &mut files)
        .context("cannot make C bindings of this world")?;
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (name, content) in files.iter() {
        let path = out.join(name);
        if fs::read(&path).is_ok_and(|present| present == content) {
            continue;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
