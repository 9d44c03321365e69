//! What a program is made of, as CycloneDX 1.5: the crates that are compiled into it, by cargo's own
//! metadata, and the distribution's packages whose libraries its image has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{command, toolchain};

/// `cargo metadata`, as far as we read it.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// None for what is compiled in; `build` and `dev` are not.
    kind: Option<String>,
}

/// The document of one of the workspace's programs, which was built from `Cargo.lock` as it is.
///
/// # Errors
/// Cargo does not run, or says something unknown.
pub fn of(package: &str, program: &Path) -> Result<Value> {
    let rustc = command::output(Command::new("rustc").arg("-vV"))?;
    let host = rustc
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say what it builds for")?;
    let platform = format!("--filter-platform={host}");
    let arguments = ["metadata", "--format-version=1", "--locked", &platform];
    let text = command::output(&mut toolchain::cargo(&arguments)?)?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo says no JSON")?;
    document(package, &metadata, system_libraries(program)?)
}

fn document(package: &str, metadata: &Metadata, libraries: Vec<Value>) -> Result<Value> {
    let packages: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let root = packages
        .values()
        .find(|found| found.name == package && found.source.is_none())
        .with_context(|| format!("the workspace has no package {package}"))?;

    let mut seen = BTreeSet::from([root.id.as_str()]);
    let mut open = vec![root.id.as_str()];
    let mut dependencies = BTreeMap::new();
    while let Some(id) = open.pop() {
        let compiled_in: BTreeSet<&str> = nodes
            .get(id)
            .into_iter()
            .flat_map(|node| &node.deps)
            .filter(|dependency| dependency.dep_kinds.iter().any(|it| it.kind.is_none()))
            .map(|dependency| dependency.pkg.as_str())
            .collect();
        open.extend(compiled_in.iter().filter(|id| seen.insert(id)));
        dependencies.insert(id, compiled_in);
    }
    let component = |id: &str| {
        packages
            .get(id)
            .map(|package| crate_component(package))
            .with_context(|| format!("cargo does not say what {id} is"))
    };
    let mut components = seen
        .iter()
        .filter(|id| **id != root.id)
        .map(|id| component(id))
        .collect::<Result<Vec<_>>>()?;
    components.extend(libraries);
    let reference = |id: &str| packages.get(id).map(|package| purl(package));
    let dependencies: Vec<Value> = dependencies
        .iter()
        .map(|(id, on)| {
            let on: Vec<_> = on.iter().filter_map(|id| reference(id)).collect();
            json!({"ref": reference(id), "dependsOn": on})
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "application",
            "bom-ref": purl(root),
            "name": root.name,
            "version": root.version,
            "purl": purl(root),
        }},
        "components": components,
        "dependencies": dependencies,
    }))
}

fn crate_component(package: &Package) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "purl": purl(package),
    });
    if let Some(license) = &package.license {
        // Older crates write `MIT/Apache-2.0`, which is no expression.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{"expression": expression}]);
    }
    component
}

fn purl(package: &Package) -> String {
    package_url("cargo", &package.name, &package.version)
}

/// A package's URL, in which a plus sign would be a space.
fn package_url(kind: &str, name: &str, version: &str) -> String {
    format!("pkg:{kind}/{name}@{version}").replace('+', "%2B")
}

/// Packages of Debian that the libraries come from which a program is linked to. Elsewhere none is
/// told.
fn system_libraries(program: &Path) -> Result<Vec<Value>> {
    let listed = command::output(Command::new("ldd").arg(program))?;
    // By the path that the loader finds: where /lib is a link to /usr/lib, packages still name /lib.
    let files = listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let format = "${Package} ${Version}";
    let mut packages = BTreeSet::new();
    for file in files {
        let owner = Command::new("dpkg-query").arg("-S").arg(file).output();
        let Ok(owner) = owner else {
            return Ok(Vec::new());
        };
        let owner = String::from_utf8_lossy(&owner.stdout).into_owned();
        if let Some((owner, _)) = owner.split_once(": ") {
            let show = ["-W", "-f", format, owner];
            packages.insert(command::output(Command::new("dpkg-query").args(show))?);
        }
    }
    Ok(packages
        .iter()
        .filter_map(|package| {
            let (name, version) = package.split_once(' ')?;
            let purl = package_url("deb/debian", name, version);
            Some(json!({
                "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            }))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compiled_in_is_told() {
        let package = |name: &str, source: Value, license: Value| json!({"id": name, "name": name, "version": "1.0.0", "source": source, "license": license});
        let dependency =
            |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let registry = json!("registry");
        let metadata = serde_json::from_value(json!({
            "packages": [
                package("ours", Value::Null, Value::Null),
                package("linked", registry.clone(), json!("MIT/Apache-2.0")),
                package("further", registry.clone(), Value::Null),
                package("tested-with", registry.clone(), Value::Null),
                package("other", registry, Value::Null),
            ],
            "resolve": {"nodes": [
                {"id": "ours", "deps": [
                    dependency("linked", Value::Null), dependency("tested-with", json!("dev")),
                ]},
                {"id": "linked", "deps": [
                    dependency("further", Value::Null), dependency("other", json!("build")),
                ]},
                {"id": "further", "deps": []},
            ]},
        }))
        .expect("it is metadata");
        let document =
            document("ours", &metadata, vec![json!({"name": "libc6"})]).expect("a document");
        let names: Vec<_> = document["components"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|component| component["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, ["further", "linked", "libc6"]);
        let expected = json!([{"expression": "MIT OR Apache-2.0"}]);
        assert_eq!(document["components"][1]["licenses"], expected);
        let expected = json!([
            {"ref": "pkg:cargo/further@1.0.0", "dependsOn": []},
            {"ref": "pkg:cargo/linked@1.0.0", "dependsOn": ["pkg:cargo/further@1.0.0"]},
            {"ref": "pkg:cargo/ours@1.0.0", "dependsOn": ["pkg:cargo/linked@1.0.0"]},
        ]);
        assert_eq!(document["dependencies"], expected);
    }
}
