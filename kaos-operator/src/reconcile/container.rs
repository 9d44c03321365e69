//! The main container, its probes, and the user's override of it.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, Probe, TCPSocketAction, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::environment::Environment;
use crate::api::Component;

/// Name of the port of every container and Service.
pub const PORT_NAME: &str = "http";

/// The main container without probes: image and environment by `resource`'s override, if it has
/// one, the rest of the override over what is generated.
pub fn main_container<K: Component>(
    resource: &K,
    generated: Container,
    environment: Environment,
    port: i32,
) -> Container {
    let mut container = Container {
        name: K::CONTAINER.to_owned(),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        env: Some(environment.under(resource)),
        ..generated
    };
    let Some(over) = resource.container() else {
        return container;
    };
    if over.image.is_some() {
        container.image.clone_from(&over.image);
    }
    if over.command.is_some() {
        container.command.clone_from(&over.command);
        // As in Kubernetes: an entry point of one's own does not get another's arguments.
        container.args = None;
    }
    if over.args.is_some() {
        container.args.clone_from(&over.args);
    }
    container.resources.clone_from(&over.resources);
    container
        .security_context
        .clone_from(&over.security_context);
    container.working_dir.clone_from(&over.working_dir);
    let mounts = container.volume_mounts.take().unwrap_or_default();
    let mounts: Vec<VolumeMount> = mounts
        .into_iter()
        .filter(|mount| {
            over.volume_mounts
                .iter()
                .all(|own| own.mount_path != mount.mount_path)
        })
        .chain(over.volume_mounts.iter().cloned())
        .collect();
    container.volume_mounts = (!mounts.is_empty()).then_some(mounts);
    container
}

/// Asks by HTTP.
pub fn http_probe(path: &str, port: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// Asks whether the port is open.
pub fn tcp_probe(port: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(port),
            ..TCPSocketAction::default()
        }),
        ..Probe::default()
    }
}

/// Seconds after which a container that never answered is started again: images install and
/// import for minutes on a busy node.
const STARTUP_SECONDS: i32 = 300;

/// Adds the three probes: the pod is ready by one, restarted by the other, and is given
/// [`STARTUP_SECONDS`] before it can be restarted.
pub fn with_probes(container: Container, ready: Probe, alive: Probe) -> Container {
    let period = 5;
    Container {
        startup_probe: Some(Probe {
            period_seconds: Some(period),
            failure_threshold: Some(STARTUP_SECONDS / period),
            ..alive.clone()
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(period),
            ..ready
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(2 * period),
            timeout_seconds: Some(period),
            ..alive
        }),
        ..container
    }
}
