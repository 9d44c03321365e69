//! Whether an object in the cluster already is as we want it.

use serde_json::Value;

/// Lists of objects that the API server merges by this key: those of ours may have foreign items
/// between them.
const KEYS: [&str; 5] = ["name", "uid", "mountPath", "containerPort", "port"];
/// Fields whose values are quantities, which the API server writes in its own way.
const QUANTITIES: [&str; 3] = ["limits", "requests", "sizeLimit"];

/// Whether every field of `desired` is in `live` with the same value. What `live` has beyond it is
/// the API server's or somebody else's.
pub fn covers(live: &Value, desired: &Value) -> bool {
    covers_field(live, desired, false)
}

fn covers_field(live: &Value, desired: &Value, quantity: bool) -> bool {
    match (live, desired) {
        (_, Value::Null) => true,
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(name, desired)| {
            let quantity = quantity || QUANTITIES.contains(&name.as_str());
            match live.get(name) {
                Some(live) => covers_field(live, desired, quantity),
                None => is_empty(desired),
            }
        }),
        (Value::Array(live), Value::Array(desired)) => match key_of(desired) {
            Some(key) => desired.iter().all(|item| {
                let same = live.iter().find(|other| other.get(key) == item.get(key));
                same.is_some_and(|live| covers_field(live, item, quantity))
            }),
            None => {
                live.len() == desired.len()
                    && live
                        .iter()
                        .zip(desired)
                        .all(|(live, desired)| covers_field(live, desired, quantity))
            }
        },
        (Value::String(live), Value::String(desired)) if quantity => {
            live == desired
                || parse_quantity(live)
                    .zip(parse_quantity(desired))
                    .is_some_and(|(live, desired)| live == desired)
        }
        (live, desired) => live == desired,
    }
}

/// The API server drops some empty values.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(_) => false,
    }
}

/// The first key that tells the items apart.
fn key_of(list: &[Value]) -> Option<&'static str> {
    KEYS.into_iter().find(|key| {
        let mut values: Vec<&Value> = list.iter().filter_map(|item| item.get(key)).collect();
        let all_have_it = !list.is_empty() && values.len() == list.len();
        values.sort_unstable_by_key(|value| value.to_string());
        values.dedup();
        all_have_it && values.len() == list.len()
    })
}

/// A quantity in thousandths, if it is a whole number of them (all that containers may ask for).
fn parse_quantity(text: &str) -> Option<i128> {
    let unit = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(unit);
    let factor: i128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(factor)?;
    (scaled % scale == 0).then_some(scaled / scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn additions_of_others_are_no_difference() {
        let desired = json!({"labels": {"a": "1"}, "containers": [{"name": "x", "image": "i"}], "none": null});
        let live = json!({"labels": {"a": "1", "theirs": "2"}, "replicas": 3,
            "containers": [{"name": "sidecar"}, {"name": "x", "image": "i", "terminationMessagePath": "/dev"}]});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn changes_and_losses_in_our_fields_are_differences() {
        let desired = json!({"labels": {"a": "1"}, "args": ["x", "y"], "containers": [{"name": "x", "image": "i"}]});
        let with = |pointer: &str, value: Value| {
            let mut live = desired.clone();
            *live.pointer_mut(pointer).unwrap() = value;
            live
        };
        assert!(covers(&desired, &desired));
        assert!(!covers(&with("/labels", json!({"a": "2"})), &desired));
        assert!(!covers(&with("/labels", json!({})), &desired));
        assert!(!covers(&with("/args", json!(["y", "x"])), &desired));
        assert!(!covers(&with("/args", json!(["x", "y", "z"])), &desired));
        assert!(!covers(&with("/containers/0/image", json!("j")), &desired));
        assert!(!covers(&with("/containers", json!([])), &desired));
    }

    #[test]
    fn two_mounts_of_one_volume_are_told_apart() {
        let mounts = json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]);
        assert!(covers(&mounts, &mounts));
        let moved = json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/c"}]);
        assert!(!covers(&moved, &mounts));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        let limits = |cpu: &str| json!({"limits": {"cpu": cpu}});
        assert!(covers(&limits("1"), &limits("1000m")));
        assert!(covers(&limits("1500m"), &limits("1.5")));
        assert!(covers(&limits("1Gi"), &limits("1024Mi")));
        assert!(!covers(&limits("1"), &limits("1001m")));
        assert!(!covers(&json!({"value": "1"}), &json!({"value": "1000m"})));
    }
}
