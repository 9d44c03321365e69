//! The Service in front of the pods.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container::PORT_NAME;
use super::{names, object_meta};
use crate::api::Component;

/// The Service of a resource, on the port of its container.
pub fn service<K: Component>(resource: &K, name: &str, port: i32) -> Service {
    Service {
        metadata: object_meta(resource, names::object_name::<K>(name)),
        spec: Some(ServiceSpec {
            selector: Some(names::selector::<K>(name)),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(port)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
