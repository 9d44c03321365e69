//! Our strategic merge against the API server's own.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplate};
use kaos_operator::reconcile::merge_pod_spec;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;

/// A pod spec with every list that has a merge key.
fn generated() -> Value {
    json!({
        "containers": [{
            "name": "agent", "image": "a:1", "args": ["x"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "resources": {"limits": {"memory": "1Gi"}},
        }],
        "initContainers": [{"name": "init", "image": "i:1", "command": ["a", "b"]}],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "block", "persistentVolumeClaim": {"claimName": "b"}}],
        "imagePullSecrets": [{"name": "first"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "nodeSelector": {"disk": "ssd"},
        "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}],
    })
}

fn patches() -> Vec<Value> {
    vec![
        json!({"containers": [{"name": "agent", "image": "a:2", "args": ["y", "z"]}]}),
        json!({"containers": [{"name": "sidecar", "image": "s:1"}]}),
        json!({"containers": [{"name": "agent", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}]}),
        json!({"containers": [{"name": "agent", "env": [{"name": "A", "$patch": "delete"}]}]}),
        json!({"containers": [{"name": "agent", "env": [{"$patch": "replace"}, {"name": "Z", "value": "9"}]}]}),
        json!({"containers": [{"name": "agent", "ports": [{"containerPort": 8000, "name": "web"}, {"containerPort": 9000, "name": "metrics", "protocol": "TCP"}]}]}),
        json!({"containers": [{"name": "agent", "volumeMounts": [{"mountPath": "/data", "name": "data", "readOnly": true}, {"mountPath": "/b", "name": "data"}]}]}),
        json!({"containers": [{"name": "agent", "volumeDevices": [{"devicePath": "/dev/x", "name": "block"}]}]}),
        json!({"containers": [{"name": "agent", "resources": {"limits": {"cpu": "1"}}, "args": null}]}),
        json!({"initContainers": [{"name": "init", "command": ["c"]}, {"name": "second", "image": "i:2"}]}),
        json!({"volumes": [{"name": "data", "configMap": {"name": "c"}}, {"name": "new", "emptyDir": {"medium": "Memory"}}]}),
        json!({"imagePullSecrets": [{"name": "second"}]}),
        json!({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["b"]}, {"ip": "10.0.0.2", "hostnames": ["c"]}]}),
        json!({"tolerations": [{"key": "b", "operator": "Exists"}]}),
        json!({"nodeSelector": {"zone": "a"}, "hostNetwork": false, "priorityClassName": "high"}),
        json!({"nodeSelector": {"disk": null}}),
        json!({"nodeSelector": {"$patch": "replace", "only": "this"}}),
        json!({"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2}, {"topologyKey": "host", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}),
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}, "securityContext": {"runAsUser": 1}}),
        json!({"schedulingGates": [{"name": "gate"}], "resourceClaims": [{"name": "gpu", "resourceClaimName": "g"}]}),
    ]
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn merging_is_what_the_api_server_does() {
    let plane = ControlPlane::start(&[]).await;
    let api: Api<PodTemplate> = Api::namespaced(plane.client.clone(), "default");
    let template = |spec: &Value| {
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t"},
               "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}})
    };
    plane.apply(&template(&generated())).await;
    // With the API server's defaults, which its own merge starts from.
    let stored = spec_of(api.get("t").await.expect("the template"));
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    for patch in patches() {
        let theirs = api
            .patch(
                "t",
                &dry,
                &Patch::Strategic(json!({"template": {"spec": as_kubectl_sends(&patch)}})),
            )
            .await;
        let theirs = spec_of(theirs.unwrap_or_else(|error| panic!("{error}: {patch}")));
        let ours = merge_pod_spec(&stored, patch.as_object().expect("an object"));
        let ours = ours.unwrap_or_else(|problem| panic!("{problem}: {patch}"));
        // The API server adds its defaults to what is new.
        let replaced = serde_json::to_value(&ours).expect("a pod spec");
        let defaulted = defaulted(&api, &replaced).await;
        let sorted = |spec: &PodSpec| in_order(serde_json::to_value(spec).expect("a pod spec"));
        assert_eq!(sorted(&defaulted), sorted(&theirs), "{patch}");
    }
}

/// With the directive by which kubectl says that a volume is to be only of the patch's kind.
fn as_kubectl_sends(patch: &Value) -> Value {
    let mut patch = patch.clone();
    let volumes = patch.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        let keys: Vec<String> = volume
            .as_object()
            .expect("a volume")
            .keys()
            .cloned()
            .collect();
        volume["$retainKeys"] = json!(keys);
    }
    patch
}

/// With the lists that are merged by a key sorted: the API server puts new items first, we put
/// them last (see `strategic_merge`).
fn in_order(value: Value) -> Value {
    const KEYS: [&str; 6] = [
        "name",
        "mountPath",
        "containerPort",
        "devicePath",
        "ip",
        "topologyKey",
    ];
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, in_order(value)))
            .collect(),
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(in_order).collect();
            if let Some(key) = KEYS
                .into_iter()
                .find(|key| list.iter().all(|item| item.get(key).is_some()))
            {
                list.sort_by_key(|item| item[key].to_string());
            }
            Value::Array(list)
        }
        other => other,
    }
}

fn spec_of(template: PodTemplate) -> PodSpec {
    template
        .template
        .and_then(|template| template.spec)
        .expect("a pod spec")
}

/// A pod spec with the API server's defaults.
async fn defaulted(api: &Api<PodTemplate>, spec: &Value) -> PodSpec {
    let mut template = api.get("t").await.expect("the template");
    let inner = template.template.as_mut().expect("a template");
    inner.spec = Some(serde_json::from_value(spec.clone()).expect("a pod spec"));
    let dry = kube::api::PostParams {
        dry_run: true,
        ..kube::api::PostParams::default()
    };
    let answer = api.replace("t", &dry, &template).await;
    spec_of(answer.unwrap_or_else(|error| panic!("{error}: {spec}")))
}
