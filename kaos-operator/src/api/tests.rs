use super::*;

fn schema(crd: &CustomResourceDefinition) -> serde_json::Value {
    let crd = serde_json::to_value(crd).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn names_are_those_of_kaos() {
    let names: Vec<_> = crds()
        .into_iter()
        .map(|crd| {
            let names = crd.spec.names;
            (names.kind, names.plural, names.short_names.unwrap())
        })
        .collect();
    let expected = [
        ("Agent", "agents", "agent"),
        ("MCPServer", "mcpservers", "mcp"),
        ("ModelAPI", "modelapis", "api"),
    ];
    let expected = expected
        .map(|(kind, plural, short)| (kind.to_owned(), plural.to_owned(), vec![short.to_owned()]));
    assert_eq!(names, expected);
}

#[test]
fn each_crd_is_small_enough_for_a_client_side_apply() {
    // kubectl keeps the last applied object in an annotation; all annotations share 256 KiB.
    for crd in crds() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(size < 200 * 1024, "{:?}: {size} bytes", crd.metadata.name);
    }
}

#[test]
fn telemetry_enabled_has_no_default() {
    for crd in crds() {
        let schema = schema(&crd);
        let text = schema.to_string();
        assert!(text.contains("Whether the component is traced."));
        for pointer in [
            "/properties/spec/properties/telemetry/properties/enabled",
            "/properties/spec/properties/config/properties/telemetry/properties/enabled",
        ] {
            if let Some(enabled) = schema.pointer(pointer) {
                assert_eq!(enabled.get("default"), None);
            }
        }
    }
}

#[test]
fn an_agent_of_two_fields_has_the_defaults() {
    let spec: AgentSpec =
        serde_json::from_str(r#"{"modelAPI": "models", "model": "gpt-4"}"#).unwrap();
    assert!(spec.wait_for_dependencies);
    assert!(spec.agent_network.expose);
    assert_eq!(spec.config.reasoning_loop_max_steps, 5);
    assert_eq!(spec.config.memory, MemoryConfig::default());
}

#[test]
fn a_key_is_not_in_the_debug_output() {
    let key = ApiKey {
        value: Some("sk-secret".to_owned()),
        value_from: None,
    };
    let text = format!("{key:?}");
    assert!(!text.contains("sk-secret"), "{text}");
}
