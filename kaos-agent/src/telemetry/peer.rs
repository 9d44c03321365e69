//! Whom a call reached, where its address says it.

use opentelemetry_semantic_conventions::attribute;

use super::attributes::Attributes;
use crate::capture::event::PeerInfo;

/// What `service.peer.name` was called until it was renamed. Many backends draw their maps of services
/// by it.
const PEER_SERVICE: &str = "peer.service";

/// Names of the one who has the address that was called. `server.address` stays what the wire shows.
pub(super) fn tell(peer: &PeerInfo, attributes: &mut Attributes) {
    attributes.text(PEER_SERVICE, peer.service_name.as_str());
    attributes.text(attribute::SERVICE_PEER_NAME, peer.service_name.as_str());
    attributes.text(attribute::SERVICE_PEER_NAMESPACE, peer.namespace.as_str());
    if let Some(service) = &peer.cluster_service {
        attributes.text(attribute::K8S_SERVICE_NAME, service.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cluster_service: Option<&str>) -> Vec<String> {
        let mut attributes = Attributes::default();
        let peer = PeerInfo {
            addresses: Vec::new(),
            service_name: "models".to_owned(),
            namespace: "team".to_owned(),
            cluster_service: cluster_service.map(str::to_owned),
        };
        tell(&peer, &mut attributes);
        let list = attributes.into_vec().into_iter();
        list.map(|it| format!("{}={}", it.key, it.value)).collect()
    }

    #[test]
    fn a_service_of_the_cluster_and_a_pod() {
        let pod = [
            "peer.service=models",
            "service.peer.name=models",
            "service.peer.namespace=team",
        ];
        assert_eq!(told(None), pod);
        let service = told(Some("modelapi-models"));
        assert_eq!(service[..3], pod);
        assert_eq!(service[3..], ["k8s.service.name=modelapi-models"]);
    }
}
