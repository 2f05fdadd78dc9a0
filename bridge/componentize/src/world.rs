//! A guest's world: what it imports and exports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use wit_parser::{PackageName, Resolve, UnresolvedPackageGroup, WorldId};

use crate::wasi;

/// A world with everything that it refers to.
pub struct World {
    pub(crate) resolve: Resolve,
    pub(crate) id: WorldId,
}

impl World {
    /// Resolves `world` among the packages of the folder `wit` and its `deps`, and the standard WASI packages; a
    /// package that `deps` defines itself takes the place of the built-in one. Without a folder only the standard
    /// packages are there, and `world` is a full name such as `wasi:http/proxy@0.2.12`.
    pub fn load(wit: Option<&Path>, world: &str) -> Result<World> {
        let (main, mut packages) = match wit {
            Some(dir) => (parse(dir)?, parse_deps(&dir.join("deps"))?),
            None => (parse_text("package rusm:none;")?, Vec::new()),
        };
        for package in wasi::packages()? {
            if !defines(&main, &package.main.name) && !packages.iter().any(|own| defines(own, &package.main.name)) {
                packages.push(package);
            }
        }
        let mut resolve = Resolve::default();
        let place = || {
            wit.map_or("the standard WASI packages".to_string(), |dir| {
                dir.display().to_string()
            })
        };
        let pushed = resolve.push_groups(main, packages).map_err(anyhow::Error::from);
        let main = pushed
            .map_err(|error| anyhow!(resolve.render_error(&error)))
            .with_context(place)?;
        let id = resolve
            .select_world(&[main], Some(world))
            .with_context(|| format!("no world `{world}` in {}", place()))?;
        Ok(World { resolve, id })
    }
}

fn defines(group: &UnresolvedPackageGroup, name: &PackageName) -> bool {
    group.main.name == *name || group.nested.iter().any(|package| package.name == *name)
}

fn parse_text(text: &str) -> Result<UnresolvedPackageGroup> {
    UnresolvedPackageGroup::parse("none.wit", text).map_err(|(map, error)| anyhow!(error.render(&map)))
}

fn parse(path: &Path) -> Result<UnresolvedPackageGroup> {
    if !path.is_dir() {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        return UnresolvedPackageGroup::parse(path, &text).map_err(|(map, error)| anyhow!(error.render(&map)));
    }
    UnresolvedPackageGroup::parse_dir(path)
        .with_context(|| format!("cannot read the WIT package in {}", path.display()))
}

/// Each entry of a `deps` folder is a package: a folder of WIT files, or one file. Other files are not looked at,
/// except a package in binary form: leaving that out silently would be a riddle later.
fn parse_deps(deps: &Path) -> Result<Vec<UnresolvedPackageGroup>> {
    if !deps.exists() {
        return Ok(Vec::new());
    }
    let unreadable = || format!("cannot list {}", deps.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(deps).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => paths.push(path),
            Some("wit") => paths.push(path),
            Some("wasm") => bail!(
                "{} is a WIT package in binary form; only WIT text is read",
                path.display()
            ),
            _ => {}
        }
    }
    paths.sort();
    paths.iter().map(|path| parse(path)).collect()
}
