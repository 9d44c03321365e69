//! The Deployment around a pod spec.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use sha2::{Digest as _, Sha256};

use super::telemetry::Telemetry;
use super::{Problem, merge_pod_spec, names, object_meta};
use crate::api::{Component, GROUP};

/// The Deployment of a resource. It does not say how many replicas, so that an autoscaler may.
///
/// # Errors
/// The resource's podSpec cannot be merged.
pub fn deployment<K: Component>(
    resource: &K,
    name: &str,
    generated: &PodSpec,
    telemetry: &Telemetry,
    mounted_config: Option<&str>,
) -> Result<Deployment, Problem> {
    let pod_spec = match resource.pod_spec() {
        Some(patch) => merge_pod_spec(generated, patch)?,
        None => generated.clone(),
    };
    let mut labels = names::labels::<K>(name);
    labels.insert(format!("{GROUP}/telemetry"), telemetry.label().to_owned());
    Ok(Deployment {
        metadata: object_meta(resource, names::object_name::<K>(name)),
        spec: DeploymentSpec {
            selector: LabelSelector {
                match_labels: Some(names::selector::<K>(name)),
                ..LabelSelector::default()
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: mounted_config.map(config_hash),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec),
            },
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    })
}

/// An annotation that changes with a mounted configuration, so that a change rolls the pods.
fn config_hash(config: &str) -> BTreeMap<String, String> {
    let digest = Sha256::digest(config.as_bytes());
    let hash = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    BTreeMap::from([(format!("{GROUP}/config-hash"), hash.collect())])
}
