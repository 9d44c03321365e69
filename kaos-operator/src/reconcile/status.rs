//! What to report of a resource.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Desired, HTTP_ROUTE_API, Problem};
use crate::api::{Component, ComponentStatus, DeploymentStatus, Phase};

/// What became of the HTTPRoute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteState {
    /// None is wanted.
    Unwanted,
    /// It is there.
    Applied,
    /// The cluster does not have the Gateway API's CRDs.
    ApiMissing,
}

/// What is known of the pods.
struct Progress {
    available: bool,
    stuck: bool,
    message: String,
}

/// The status of a resource after it was reconciled, with `deployment` as it is in the cluster.
/// Conditions keep the time of their last change; `now` is the time of those that change now.
pub fn status<K: Component>(
    resource: &K,
    outcome: &Result<Desired, Problem>,
    deployment: Option<&Deployment>,
    route: RouteState,
    now: &Time,
) -> ComponentStatus {
    let previous = resource.status().cloned().unwrap_or_default();
    let generation = resource.meta().generation;
    let progress = progress(deployment);
    let (phase, message) = match outcome {
        Err(Problem::Waiting(message)) => (Phase::Waiting, message.clone()),
        Err(Problem::Invalid(message)) => (Phase::Failed, message.clone()),
        Ok(_) if progress.stuck => (Phase::Failed, progress.message.clone()),
        Ok(_) if progress.available => (Phase::Ready, progress.message.clone()),
        Ok(_) => (Phase::Pending, progress.message.clone()),
    };
    let ready = phase == Phase::Ready;
    let mut status = ComponentStatus {
        phase,
        ready,
        message: Some(message.clone()),
        observed_generation: generation,
        deployment: deployment.map(summary),
        ..previous
    };
    let mut set = |kind: &str, holds: bool, reason: &str, message: &str| {
        let condition = Condition {
            type_: kind.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: generation,
            last_transition_time: now.clone(),
        };
        set_condition(&mut status.conditions, condition);
    };
    set("Ready", ready, &format!("{phase:?}"), &message);
    let progressing = phase == Phase::Pending;
    set("Progressing", progressing, &format!("{phase:?}"), &message);
    match outcome {
        Ok(desired) => {
            let report = &desired.telemetry;
            set(
                "TelemetryConfigured",
                report.configured,
                report.reason,
                &report.message,
            );
            set(
                "ReferencesResolved",
                true,
                "Resolved",
                "all references exist",
            );
        }
        Err(Problem::Waiting(message)) => set("ReferencesResolved", false, "Waiting", message),
        Err(Problem::Invalid(_)) => {}
    }
    let (group, version) = HTTP_ROUTE_API;
    match route {
        RouteState::Unwanted => {}
        RouteState::Applied => set(
            "GatewayRouteConfigured",
            true,
            "Applied",
            "the HTTPRoute is applied",
        ),
        RouteState::ApiMissing => set(
            "GatewayRouteConfigured",
            false,
            "GatewayApiMissing",
            &format!(
                "the cluster does not serve HTTPRoute of {group}/{version}; install the Gateway \
                 API's CRDs, or set GATEWAY_API_ENABLED=false"
            ),
        ),
    }
    if let Ok(desired) = outcome {
        status.endpoint.clone_from(&desired.endpoint);
        status.linked_resources.clone_from(&desired.linked);
        if desired.route.is_none() {
            status
                .conditions
                .retain(|condition| condition.type_ != "GatewayRouteConfigured");
        }
    }
    status
}

/// Puts a condition into its place; its time changes only with its status.
fn set_condition(conditions: &mut Vec<Condition>, new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) if old.status == new.status => {
            let last_transition_time = old.last_transition_time.clone();
            *old = Condition {
                last_transition_time,
                ..new
            };
        }
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

fn summary(deployment: &Deployment) -> DeploymentStatus {
    let status = deployment.status.clone().unwrap_or_default();
    DeploymentStatus {
        replicas: status.replicas.unwrap_or_default(),
        ready_replicas: status.ready_replicas.unwrap_or_default(),
        available_replicas: status.available_replicas.unwrap_or_default(),
        updated_replicas: status.updated_replicas.unwrap_or_default(),
        // Without their times: the Deployment's controller touches those without a change.
        conditions: status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .map(
                |condition| k8s_openapi::api::apps::v1::DeploymentCondition {
                    last_update_time: None,
                    ..condition
                },
            )
            .collect(),
    }
}

/// Whether the pods of the newest template, and only these, are available (the rule of
/// `kubectl rollout status`).
fn progress(deployment: Option<&Deployment>) -> Progress {
    let unavailable = |message: String| Progress {
        available: false,
        stuck: false,
        message,
    };
    let Some(deployment) = deployment else {
        return unavailable("the Deployment is not created yet".to_owned());
    };
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    if status.observed_generation < deployment.metadata.generation {
        return unavailable("the Deployment's controller has not seen the newest spec".to_owned());
    }
    let stuck = status.conditions.iter().flatten().find(|condition| {
        condition.type_.as_deref() == Some("Progressing")
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    if let Some(condition) = stuck {
        let detail = condition.message.clone().unwrap_or_default();
        return Progress {
            available: false,
            stuck: true,
            message: format!("the rollout is stuck: {detail}; look at the pods' events"),
        };
    }
    if wanted == 0 {
        return unavailable("the Deployment is scaled to 0 replicas".to_owned());
    }
    let updated = status.updated_replicas.unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let all = status.replicas.unwrap_or_default();
    Progress {
        available: updated >= wanted && all <= updated && available >= wanted,
        stuck: false,
        message: format!("{available} of {wanted} replicas available, {updated} updated"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Agent;
    use crate::reconcile::TelemetryReport;

    fn agent() -> Agent {
        serde_json::from_value(json!({
            "apiVersion": "kaos.tools/v1alpha1", "kind": "Agent",
            "metadata": {"name": "x", "namespace": "n", "generation": 3},
            "spec": {"modelAPI": "m", "model": "gpt"},
        }))
        .unwrap()
    }

    fn time(seconds: i64) -> Time {
        serde_json::from_value(json!(format!("2026-01-01T00:00:{seconds:02}Z"))).unwrap()
    }

    fn deployment(status: serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"generation": 2}, "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status,
        }))
        .unwrap()
    }

    fn desired() -> Desired {
        Desired {
            deployment: Deployment::default(),
            service: None,
            config_map: None,
            route: None,
            endpoint: Some("http://x".to_owned()),
            telemetry: TelemetryReport {
                configured: false,
                warning: false,
                reason: "Disabled",
                message: "telemetry is disabled".to_owned(),
            },
            linked: None,
        }
    }

    fn report(deployment: Option<&Deployment>) -> (Phase, bool, String) {
        let status = status(
            &agent(),
            &Ok(desired()),
            deployment,
            RouteState::Unwanted,
            &time(0),
        );
        (status.phase, status.ready, status.message.unwrap())
    }

    #[test]
    fn ready_means_that_the_new_generation_is_available() {
        let all = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(report(Some(&deployment(all))).0, Phase::Ready);
        for (case, status) in [
            (
                "old pods serve",
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}),
            ),
            (
                "an old pod is left",
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
            ),
            (
                "not seen",
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
            ),
            ("nothing", json!({})),
        ] {
            assert_eq!(
                report(Some(&deployment(status))).0,
                Phase::Pending,
                "{case}"
            );
        }
        assert_eq!(report(None).0, Phase::Pending);
    }

    #[test]
    fn a_stuck_rollout_is_a_failure_though_old_pods_serve() {
        let stuck = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]});
        let (phase, ready, message) = report(Some(&deployment(stuck)));
        assert_eq!((phase, ready), (Phase::Failed, false));
        assert_eq!(
            message,
            "the rollout is stuck: timed out; look at the pods' events"
        );
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_only() {
        let mut agent = agent();
        let waiting = Err(Problem::Waiting("ModelAPI m does not exist".to_owned()));
        let first = status(&agent, &waiting, None, RouteState::Unwanted, &time(1));
        agent.status = Some(first.clone());
        assert_eq!(
            status(&agent, &waiting, None, RouteState::Unwanted, &time(2)),
            first
        );
        let resolved = status(&agent, &Ok(desired()), None, RouteState::Unwanted, &time(3));
        let times: Vec<_> = resolved
            .conditions
            .iter()
            .map(|condition| {
                (
                    condition.type_.as_str(),
                    condition.last_transition_time.clone(),
                )
            })
            .collect();
        assert_eq!(
            times,
            [
                ("Ready", time(1)),
                ("Progressing", time(3)),
                ("ReferencesResolved", time(3)),
                ("TelemetryConfigured", time(3)),
            ]
        );
    }
}
