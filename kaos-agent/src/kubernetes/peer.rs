//! Who has an address of the cluster.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, Service};

use crate::capture::event::{PeerInfo, PodInfo};
use crate::identity::pods::{KAOS_RESOURCE, SERVICE_NAME_ANNOTATION, service_name};

/// Variable by which a process names itself.
const OTEL_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// A Service, where it has virtual addresses: nobody else has these. Those from outside of the cluster
/// several Services may share.
pub(super) fn of_service(service: &Service) -> Option<PeerInfo> {
    let metadata = &service.metadata;
    let name = metadata.name.clone()?;
    let spec = service.spec.as_ref()?;
    // "None" of one that is headless is no address.
    let addresses: Vec<IpAddr> = match &spec.cluster_ips {
        Some(addresses) => parsed(addresses),
        None => parsed(spec.cluster_ip.as_ref()),
    };
    let annotation = metadata.annotations.as_ref();
    let annotation = annotation.and_then(|list| list.get(SERVICE_NAME_ANNOTATION));
    // KAOS's operator names what it runs after its resource.
    let label = metadata.labels.as_ref();
    let label = label.and_then(|list| list.get(KAOS_RESOURCE));
    let service_name = annotation.or(label).unwrap_or(&name).clone();
    (!addresses.is_empty()).then_some(PeerInfo {
        addresses,
        service_name,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        cluster_service: Some(name),
    })
}

/// A pod, where it has addresses of its own.
pub(super) fn of_pod(pod: &Pod, info: &PodInfo) -> Option<PeerInfo> {
    let status = pod.status.as_ref()?;
    let in_network_of_host = pod.spec.as_ref()?.host_network == Some(true);
    // The addresses of one that has ended may be another's.
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if in_network_of_host || has_ended {
        return None;
    }
    let addresses = parsed(status.pod_ips.iter().flatten().map(|it| &it.ip));
    let mut environment = info
        .containers
        .iter()
        .filter(|container| !container.is_init)
        .flat_map(|container| &container.environment);
    let named = environment
        .find(|(name, value)| name == OTEL_SERVICE_NAME && !value.is_empty())
        .map(|(_, value)| value.as_str());
    (!addresses.is_empty()).then_some(PeerInfo {
        addresses,
        service_name: named.or_else(|| service_name(info))?.to_owned(),
        namespace: info.namespace.clone(),
        cluster_service: None,
    })
}

fn parsed<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    let addresses = texts.into_iter();
    addresses.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::pod::describe;
    use super::*;

    fn service(spec: &Value, metadata: &Value) -> Option<PeerInfo> {
        let mut service = json!({"metadata": {"name": "modelapi-models", "namespace": "team"},
                                 "spec": spec});
        for (key, value) in metadata.as_object().expect("an object") {
            service["metadata"][key] = value.clone();
        }
        of_service(&serde_json::from_value(service).expect("a Service"))
    }

    fn pod(spec: Value, phase: &str) -> Option<PeerInfo> {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "team"},
            "spec": {"containers": [{"name": "c", "env": [{"name": "OTEL_SERVICE_NAME", "value": "own"}]}]},
            "status": {"phase": phase, "podIP": "10.244.0.7",
                       "podIPs": [{"ip": "10.244.0.7"}, {"ip": "fd00::7"}]},
        });
        for (key, value) in spec.as_object().expect("an object") {
            pod["spec"][key] = value.clone();
        }
        let pod = serde_json::from_value(pod).expect("a pod");
        of_pod(&pod, &describe(&pod))
    }

    #[test]
    fn services_have_the_name_of_what_is_behind_them() {
        let both = json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"]});
        let told = service(&both, &json!({})).expect("it has addresses");
        let addresses: Vec<_> = told.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.96.0.9", "fd00::9"]);
        assert_eq!(told.namespace, "team");
        assert_eq!(told.cluster_service.as_deref(), Some("modelapi-models"));
        assert_eq!(told.service_name, "modelapi-models");
        let name = |metadata| service(&both, &metadata).map(|told| told.service_name);
        let labels = json!({"kaos.tools/resource": "models", "app.kubernetes.io/name": "other"});
        assert_eq!(name(json!({"labels": labels})).as_deref(), Some("models"));
        let annotations = json!({"resource.opentelemetry.io/service.name": "annotated"});
        let metadata = json!({"labels": labels, "annotations": annotations});
        assert_eq!(name(metadata).as_deref(), Some("annotated"));
    }

    #[test]
    fn services_without_virtual_addresses_are_nobody() {
        for spec in [
            json!({"clusterIP": "None", "clusterIPs": ["None"]}),
            json!({"type": "ExternalName", "externalName": "example.com"}),
            json!({"clusterIP": "", "externalIPs": ["192.0.2.1"]}),
        ] {
            assert_eq!(service(&spec, &json!({})), None, "{spec}");
        }
    }

    #[test]
    fn pods_have_the_name_that_they_tell_by() {
        let told = pod(json!({}), "Running").expect("it has addresses");
        let addresses: Vec<_> = told.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.244.0.7", "fd00::7"]);
        assert_eq!(told.service_name, "own");
        assert_eq!(
            (told.namespace.as_str(), told.cluster_service),
            ("team", None)
        );
        let unnamed = pod(json!({"containers": [{"name": "c"}]}), "Running");
        assert_eq!(unnamed.expect("it has addresses").service_name, "p");
    }

    #[test]
    fn addresses_that_are_not_a_pods_own_are_not_its() {
        assert_eq!(pod(json!({"hostNetwork": true}), "Running"), None);
        assert_eq!(pod(json!({}), "Succeeded"), None);
        assert_eq!(pod(json!({}), "Failed"), None);
    }
}
