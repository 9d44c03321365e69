//! Strategic merge of a patch over a pod spec, by the API server's rules.
//!
//! `k8s-openapi`'s `DeepMerge` is not used: it cannot delete (`null`, `$patch: delete`), merges
//! two kinds of volume into one that is invalid (kubectl has only the patch's kind retained), and
//! merges ports by port and protocol where the API server goes by port. The table below holds
//! the merge keys that the API types declare (`patchMergeKey` of `k8s.io/api/core/v1`); a test of
//! the control-plane tier holds it against the API server's own merge.
//!
//! One thing differs on purpose: new items of a merged list come last here, where the API server
//! puts them first. The main container stays the first, which is what `kubectl logs` shows, and a
//! user's variable may refer to the operator's as `$(NAME)`, which works only backwards.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Map, Value};

use super::Problem;
use crate::api::OpenObject;

/// Lists that are merged item by item, by the name of their field, with their merge key. The
/// field names mean the same list wherever they occur in a pod spec, but for the exceptions of
/// [`merge_key`].
const MERGE_KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("env", "name"),
    ("ephemeralContainers", "name"),
    ("hostAliases", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ports", "containerPort"),
    ("resourceClaims", "name"),
    ("schedulingGates", "name"),
    ("topologySpreadConstraints", "topologyKey"),
    ("volumeDevices", "devicePath"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];
/// The directive of a strategic merge patch.
const DIRECTIVE: &str = "$patch";
/// Lists whose items keep only the patch's fields beside the merge key, for these are one of many
/// (patch strategy `retainKeys`, for which kubectl adds a directive to each patch).
const RETAIN_KEYS: &[&str] = &["volumes"];

/// Merges a user's patch over a generated pod spec.
///
/// # Errors
/// The patch is not one of a pod spec: a field with the wrong type, an item without its merge key,
/// a field that a pod spec does not have.
pub fn merge_pod_spec(generated: &PodSpec, patch: &OpenObject) -> Result<PodSpec, Problem> {
    let mut merged = serde_json::to_value(generated)
        .map_err(|error| Problem::invalid(format!("the generated pod spec: {error}")))?;
    if let Value::Object(target) = &mut merged {
        merge_objects(target, patch, "podSpec")?;
    }
    let spec: PodSpec = serde_json::from_value(merged.clone()).map_err(|error| {
        Problem::invalid(format!(
            "podSpec cannot be merged: {error}; correct the field's type"
        ))
    })?;
    let understood = serde_json::to_value(&spec)
        .map_err(|error| Problem::invalid(format!("podSpec cannot be merged: {error}")))?;
    match first_lost(&merged, &understood, "podSpec") {
        None => Ok(spec),
        Some(path) => Err(Problem::invalid(format!(
            "{path} is not a field of a pod spec; remove it or correct its name"
        ))),
    }
}

fn merge_objects(target: &mut OpenObject, patch: &OpenObject, path: &str) -> Result<(), Problem> {
    match directive(patch, path)? {
        Some(Directive::Replace) => {
            *target = without_directive(patch);
            return Ok(());
        }
        Some(Directive::Delete) => {
            target.clear();
            return Ok(());
        }
        None => {}
    }
    for (name, value) in patch {
        let path = format!("{path}.{name}");
        match (target.get_mut(name), value) {
            (_, Value::Null) => {
                target.remove(name);
            }
            (Some(Value::Object(target)), Value::Object(patch)) => {
                merge_objects(target, patch, &path)?;
            }
            (Some(Value::Array(target)), Value::Array(patch)) => match merge_key(name, &path) {
                Some(key) => merge_lists(target, patch, key, name, &path)?,
                None => target.clone_from(patch),
            },
            (None, Value::Object(patch)) => {
                let mut new = Map::new();
                merge_objects(&mut new, patch, &path)?;
                target.insert(name.clone(), Value::Object(new));
            }
            (None, Value::Array(patch)) if merge_key(name, &path).is_some() => {
                let mut new = Vec::new();
                if let Some(key) = merge_key(name, &path) {
                    merge_lists(&mut new, patch, key, name, &path)?;
                }
                target.insert(name.clone(), Value::Array(new));
            }
            (_, value) => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn merge_lists(
    target: &mut Vec<Value>,
    patch: &[Value],
    key: &str,
    list: &str,
    path: &str,
) -> Result<(), Problem> {
    for (index, item) in patch.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Value::Object(item) = item else {
            return Err(Problem::invalid(format!(
                "{path} is not an object; write it with its field {key}"
            )));
        };
        let directive = directive(item, &path)?;
        let Some(identity) = item.get(key) else {
            if matches!(directive, Some(Directive::Replace)) {
                // The list's own directive: the patch's other items replace all.
                target.clear();
                continue;
            }
            return Err(Problem::invalid(format!(
                "{path}.{key} is missing; the list is merged by it"
            )));
        };
        let position = target.iter().position(|old| old.get(key) == Some(identity));
        let old = position.and_then(|position| target.get_mut(position));
        match (old, directive) {
            (_, Some(Directive::Delete)) => {
                target.retain(|old| old.get(key) != Some(identity));
            }
            (Some(Value::Object(old)), None) => {
                if RETAIN_KEYS.contains(&list) {
                    old.retain(|name, _| item.contains_key(name));
                }
                merge_objects(old, item, &path)?;
            }
            (Some(old), _) => *old = Value::Object(without_directive(item)),
            (None, _) => {
                let mut new = Map::new();
                merge_objects(&mut new, &without_directive(item), &path)?;
                target.push(Value::Object(new));
            }
        }
    }
    Ok(())
}

enum Directive {
    Delete,
    Replace,
}

fn directive(object: &OpenObject, path: &str) -> Result<Option<Directive>, Problem> {
    match object.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => Ok(None),
        Some(Some("delete")) => Ok(Some(Directive::Delete)),
        Some(Some("replace")) => Ok(Some(Directive::Replace)),
        Some(_) => Err(Problem::invalid(format!(
            "{path}.{DIRECTIVE} must be merge, replace or delete"
        ))),
    }
}

fn without_directive(object: &OpenObject) -> OpenObject {
    let mut object = object.clone();
    object.remove(DIRECTIVE);
    object
}

fn merge_key(list: &str, path: &str) -> Option<&'static str> {
    // `resources.claims` has no merge key; nor have lists inside of volumes, whose items may be
    // called alike (a projected volume's `sources`, an iSCSI volume's `portals`).
    if path.contains(".volumes[") {
        return None;
    }
    MERGE_KEYS
        .iter()
        .find(|(name, _)| *name == list)
        .map(|(_, key)| *key)
}

/// Path of the first value of `all` that `understood` lacks.
fn first_lost(all: &Value, understood: &Value, path: &str) -> Option<String> {
    match (all, understood) {
        (Value::Object(all), Value::Object(understood)) => all.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match understood.get(name) {
                Some(understood) => first_lost(value, understood, &path),
                None => (!value.is_null()).then_some(path),
            }
        }),
        (Value::Array(all), Value::Array(understood)) => all
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(index, (value, understood))| {
                first_lost(value, understood, &format!("{path}[{index}]"))
            }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn merge(target: Value, patch: Value) -> Result<Value, String> {
        let target: PodSpec = serde_json::from_value(target).unwrap();
        let Value::Object(patch) = patch else {
            panic!("a patch is an object")
        };
        merge_pod_spec(&target, &patch)
            .map(|merged| serde_json::to_value(merged).unwrap())
            .map_err(|problem| problem.to_string())
    }

    fn generated() -> Value {
        json!({
            "containers": [{"name": "agent", "image": "a:1", "args": ["x"],
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        })
    }

    #[test]
    fn lists_with_a_merge_key_are_merged_by_it_and_others_replaced() {
        let patch = json!({
            "containers": [
                {"name": "agent", "args": ["y"], "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
                {"name": "sidecar", "image": "s:1"},
            ],
            "nodeSelector": {"disk": "ssd"},
        });
        let expected = json!({
            "containers": [
                {"name": "agent", "image": "a:1", "args": ["y"],
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
                {"name": "sidecar", "image": "s:1"},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "nodeSelector": {"disk": "ssd"},
        });
        assert_eq!(merge(generated(), patch), Ok(expected));
    }

    #[test]
    fn a_volume_keeps_only_the_kind_that_the_patch_gives_it() {
        let patch =
            json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]});
        let merged = merge(generated(), patch).unwrap();
        assert_eq!(
            merged["volumes"],
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}])
        );
    }

    #[test]
    fn directives_and_null_take_away() {
        let patch = json!({"containers": [{"name": "agent", "args": null,
            "env": [{"name": "A", "$patch": "delete"}]}], "volumes": [{"$patch": "replace"}]});
        let merged = merge(generated(), patch).unwrap();
        assert_eq!(
            merged,
            json!({"containers": [{"name": "agent", "image": "a:1", "env": [{"name": "B", "value": "2"}]}],
                   "volumes": []})
        );
    }

    #[test]
    fn what_cannot_be_merged_is_named() {
        for (patch, expected) in [
            (
                json!({"containers": [{"image": "x"}]}),
                "podSpec.containers[0].name is missing; the list is merged by it",
            ),
            (
                json!({"containers": ["x"]}),
                "podSpec.containers[0] is not an object; write it with its field name",
            ),
            (
                json!({"nodeSelectr": {"a": "b"}}),
                "podSpec.nodeSelectr is not a field of a pod spec; remove it or correct its name",
            ),
            (
                json!({"containers": [{"name": "agent", "imagePullpolicy": "Always"}]}),
                "podSpec.containers[0].imagePullpolicy is not a field of a pod spec; remove it or correct its name",
            ),
            (
                json!({"containers": [{"name": "agent", "$patch": "drop"}]}),
                "podSpec.containers[0].$patch must be merge, replace or delete",
            ),
        ] {
            assert_eq!(merge(generated(), patch), Err(expected.to_owned()));
        }
        let wrong_type = merge(generated(), json!({"hostNetwork": "yes"})).unwrap_err();
        assert!(
            wrong_type.starts_with("podSpec cannot be merged: "),
            "{wrong_type}"
        );
    }

    fn containers() -> impl Strategy<Value = Value> {
        let variables = proptest::collection::btree_map("[A-C]", "[0-9]", 0..3).prop_map(|map| {
            Value::Array(
                map.into_iter()
                    .map(|(n, v)| json!({"name": n, "value": v}))
                    .collect(),
            )
        });
        proptest::collection::btree_map("[a-c]", variables, 1..3).prop_map(|map| {
            let list = map
                .into_iter()
                .map(|(n, env)| json!({"name": n, "env": env}));
            json!({"containers": list.collect::<Vec<_>>()})
        })
    }

    proptest! {
        #[test]
        fn merging_twice_is_merging_once(target in containers(), patch in containers()) {
            let once = merge(target, patch.clone()).expect("both are pod specs");
            prop_assert_eq!(merge(once.clone(), patch), Ok(once));
        }

        #[test]
        fn an_empty_patch_changes_nothing(target in containers()) {
            prop_assert_eq!(merge(target.clone(), json!({})), Ok(target));
        }

        #[test]
        fn no_patch_panics(patch in any_json(4)) {
            if let Value::Object(patch) = patch {
                let target = serde_json::from_value(generated()).expect("a pod spec");
                let _ = merge_pod_spec(&target, &patch);
            }
        }
    }

    fn any_json(depth: u32) -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            Just("containers"),
            Just("env"),
            Just("name"),
            Just("$patch"),
            Just("volumes")
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            Just(json!("agent")),
            Just(json!("delete")),
            Just(json!(1)),
        ];
        leaf.prop_recursive(depth, 32, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::vec((key.clone(), inner), 0..4).prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
                }),
            ]
        })
    }
}
