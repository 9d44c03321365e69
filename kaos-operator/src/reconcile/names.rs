//! Names and labels of the owned objects (`contract.md` section 1 of the project's design).

use std::collections::BTreeMap;

use super::Problem;
use crate::api::{Component, GROUP};

/// Field manager of our server-side applies, and value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "kaos-operator";
/// Label that our watches select by.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Prefix of the ConfigMap with LiteLLM's configuration.
pub const CONFIG_MAP_PREFIX: &str = "litellm-config-";
/// Longest name of a Service (a DNS label, RFC 1123), and longest value of a label.
const LONGEST_LABEL: usize = 63;

/// Name of the Deployment, Service and HTTPRoute of a resource.
pub fn object_name<K: Component>(name: &str) -> String {
    format!("{}-{name}", K::COMPONENT)
}

/// URL inside the cluster.
pub fn endpoint<K: Component>(namespace: &str, name: &str, port: i32) -> String {
    let service = object_name::<K>(name);
    format!("http://{service}.{namespace}.svc.cluster.local:{port}")
}

/// Labels that select the pods; they can never change.
pub fn selector<K: Component>(name: &str) -> BTreeMap<String, String> {
    labelled([("app", K::COMPONENT), (K::COMPONENT, name)])
}

/// Labels of every owned object.
pub fn labels<K: Component>(name: &str) -> BTreeMap<String, String> {
    let mut labels = labelled([
        ("app.kubernetes.io/name", K::COMPONENT),
        ("app.kubernetes.io/instance", name),
        ("app.kubernetes.io/component", K::COMPONENT),
        ("app.kubernetes.io/part-of", "kaos"),
        (MANAGED_BY, MANAGER),
    ]);
    labels.insert(format!("{GROUP}/component"), K::COMPONENT.to_owned());
    labels.insert(format!("{GROUP}/resource"), name.to_owned());
    labels.extend(selector::<K>(name));
    labels
}

/// Whether a Service can be named after a resource.
///
/// # Errors
/// Says how long a name may be and of what.
pub fn check<K: Component>(name: &str) -> Result<(), Problem> {
    let longest = LONGEST_LABEL - object_name::<K>("").len();
    let is_label = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if name.is_empty() || name.len() > longest || !is_label {
        return Err(Problem::invalid(format!(
            "metadata.name {name:?} must be a DNS label of at most {longest} characters, since \
             the Service is named {}; create the resource under another name",
            object_name::<K>("<name>")
        )));
    }
    Ok(())
}

fn labelled<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Agent, McpServer, ModelApi};

    #[test]
    fn the_longest_names_are_those_of_the_crds() {
        assert_eq!(check::<Agent>(&"a".repeat(57)), Ok(()));
        assert!(check::<Agent>(&"a".repeat(58)).is_err());
        assert_eq!(check::<McpServer>(&"a".repeat(53)), Ok(()));
        assert!(check::<McpServer>(&"a".repeat(54)).is_err());
        assert_eq!(check::<ModelApi>(&"a".repeat(54)), Ok(()));
        assert!(check::<ModelApi>(&"a".repeat(55)).is_err());
        for bad in ["", "a.b", "-a", "a-", "A"] {
            assert!(check::<Agent>(bad).is_err(), "{bad}");
        }
    }
}
