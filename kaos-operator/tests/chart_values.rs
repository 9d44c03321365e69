//! The README of the chart tells every value, as `values.schema.json` describes it and with the
//! default of `values.yaml`.
//!
//! After a change of the values: `UPDATE_README=1 cargo test -p kaos-operator --test chart_values`.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The table of values starts after this line and goes to the end.
const MARKER: &str = "<!-- generated: values -->\n";

fn chart(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../charts/kaos")
        .join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(chart(file)).expect("a file of the chart")
}

/// One row per described value, in the order of their names.
fn rows(schema: &Value, values: Option<&Value>, path: &str, rows: &mut Vec<String>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let value = values.and_then(|values| values.get(name));
        match property["description"].as_str() {
            Some(description) => {
                let Some(value) = value else { continue };
                rows.push(format!("| `{path}` | `{value}` | {description} |\n"));
            }
            None => {
                assert!(
                    property["properties"].is_object(),
                    "{path} has no description"
                );
                self::rows(property, value, &path, rows);
            }
        }
    }
}

/// Paths of values that the schema does not describe.
fn undescribed(schema: &Value, values: &Value, path: &str, found: &mut Vec<String>) {
    for (name, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match schema["properties"].get(name) {
            Some(property) if property["description"].is_string() => {}
            Some(property) => undescribed(property, value, &path, found),
            None => found.push(path),
        }
    }
}

#[test]
fn the_readme_tells_every_value() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("YAML");
    let mut missing = Vec::new();
    undescribed(&schema, &values, "", &mut missing);
    assert_eq!(
        missing, [""; 0],
        "values without a description in values.schema.json"
    );

    let mut table = Vec::new();
    rows(&schema, Some(&values), "", &mut table);
    let readme = read("README.md");
    let (prose, _) = readme.split_once(MARKER).expect("the marker");
    let header = "\n| value | default | meaning |\n|---|---|---|\n";
    let expected = format!("{prose}{MARKER}{header}{}", table.concat());
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(chart("README.md"), expected).expect("the README can be written");
    } else {
        assert!(
            readme == expected,
            "charts/kaos/README.md is not up to date; see the top of this test"
        );
    }
}
