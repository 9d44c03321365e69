//! One reconcile of one resource.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use prometheus_client::metrics::gauge::Gauge;
use thiserror::Error;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::caches::Caches;
use super::metrics::{ByComponent, ByResult, ByWrite, Metrics};
use super::objects::{Objects, status_patch};
use super::queue::Queue;
use super::recent::{Recent, TRUST};
use super::reconciled::Reconciled;
use super::spans;
use crate::api::{Component as _, ComponentStatus, ModelApi, Phase};
use crate::reconcile::{
    self, CONFIG_MAP_PREFIX, Desired, MANAGER, Problem, RouteState, object_name,
};
use crate::settings::Settings;

/// Delay after the first failure of a resource; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest delay after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What all reconciles share.
pub struct Context {
    /// Caches.
    pub caches: Arc<Caches>,
    /// Queue.
    pub queue: Arc<Queue>,
    client: Client,
    settings: Settings,
    objects: Objects,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    /// Status that was written lately, by UID.
    statuses: Recent<String, ComponentStatus>,
    /// Failures in a row, by UID. Bounded by the number of resources that fail.
    failures: Mutex<HashMap<String, u32>>,
}

/// Why a reconcile must be tried again.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The API server did not take something, for a reason that may pass.
    #[error("{what}: {source}")]
    Api {
        /// What we tried.
        what: String,
        /// What the API server or the way to it said.
        source: kube::Error,
    },
}

impl Context {
    /// Shares these among all reconciles.
    pub fn new(
        client: Client,
        settings: Settings,
        caches: Arc<Caches>,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: None,
        };
        Self {
            objects: Objects::new(client.clone(), Arc::clone(&caches), Arc::clone(&metrics)),
            recorder: Recorder::new(client.clone(), reporter),
            caches,
            queue,
            client,
            settings,
            metrics,
            statuses: Recent::new(),
            failures: Mutex::default(),
        }
    }
}

/// Makes the cluster be as the resource says, and reports. What fails is tried again with back-off.
pub async fn reconcile<K: Reconciled>(
    resource: Arc<K>,
    context: Arc<Context>,
) -> Result<Action, Infallible> {
    let started = Instant::now();
    let namespace = resource.namespace().unwrap_or_default();
    // Counted before it leaves the queue, so that it is in one of the two gauges at any time.
    let _running = Running::new(&context.metrics);
    context.queue.taken::<K>(&namespace, &resource.name_any());
    // What changed before it was taken was not queued again: take the newest.
    let newest = K::store(&context.caches).get(&ObjectRef::from_obj(resource.as_ref()));
    let resource = newest.unwrap_or(resource);
    if resource.meta().deletion_timestamp.is_some() {
        // What it owns goes with it, by the garbage collector.
        return Ok(Action::await_change());
    }
    let span = spans::reconcile(resource.as_ref());
    let action = reconcile_and_report(resource.as_ref(), &namespace, started, &context);
    Ok(action.instrument(span).await)
}

/// Counts a reconcile as running until it ends, or is dropped at the end of the process.
struct Running(Gauge);

impl Running {
    fn new(metrics: &Metrics) -> Self {
        metrics.running.inc();
        Self(metrics.running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// For kube, whose reconciles can fail.
pub fn never_fails<K>(_: Arc<K>, never: &Infallible, _: Arc<Context>) -> Action {
    match *never {}
}

/// Reconciles, tells how it went, and says when to look again.
async fn reconcile_and_report<K: Reconciled>(
    resource: &K,
    namespace: &str,
    started: Instant,
    context: &Context,
) -> Action {
    let result = reconcile_now(resource, namespace, context).await;
    let component = K::COMPONENT;
    let seconds = started.elapsed().as_secs_f64();
    let labels = ByComponent { component };
    context
        .metrics
        .durations
        .get_or_create(&labels)
        .observe(seconds);
    let label = match &result {
        Ok(Ok(_)) => "applied",
        Ok(Err(Problem::Waiting(_))) => "waiting",
        Ok(Err(Problem::Invalid(_))) => "invalid",
        Err(_) => "error",
    };
    let labels = ByResult {
        component,
        result: label,
    };
    context.metrics.reconciles.get_or_create(&labels).inc();
    let span = Span::current();
    span.set_attribute("kaos.reconcile.outcome", label);
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            let ReconcileError::Api { source, .. } = &error;
            spans::fail(&span, source, error.to_string());
            return try_again(resource, &error, context);
        }
    };
    let mut failures = context
        .failures
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    failures.remove(&resource.uid().unwrap_or_default());
    match outcome {
        // What was written is believed over the cache for a while: look again after it.
        Ok(Wrote::Something) => Action::requeue(2 * TRUST),
        _ => Action::await_change(),
    }
}

/// Says when to try again.
fn try_again<K: Reconciled>(resource: &K, error: &ReconcileError, context: &Context) -> Action {
    let mut failures = context
        .failures
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let count = failures
        .entry(resource.uid().unwrap_or_default())
        .or_default();
    *count = count.saturating_add(1);
    let doubled = FIRST_RETRY.saturating_mul(1 << (*count - 1).min(16));
    // Up to twice as long, so that many failures at once do not come back at once.
    let delay = doubled
        .min(LONGEST_RETRY)
        .mul_f64(1.0 + rand::random::<f64>());
    tracing::warn!(
        component = K::COMPONENT,
        namespace = resource.namespace(),
        name = resource.name_any(),
        attempt = *count,
        delay_ms = delay.as_millis() as u64,
        %error,
        "a reconcile failed; trying again"
    );
    Action::requeue(delay)
}

/// Whether objects had to be written.
enum Wrote {
    Something,
    Nothing,
}

/// The result is whether the resource could be made.
async fn reconcile_now<K: Reconciled>(
    resource: &K,
    namespace: &str,
    context: &Context,
) -> Result<Result<Wrote, Problem>, ReconcileError> {
    let mut outcome = resource.desired(&context.caches, &context.settings);
    let mut route = RouteState::Unwanted;
    let mut wrote = Wrote::Nothing;
    if let Ok(desired) = &outcome {
        match apply(resource, namespace, desired, context).await? {
            Ok(applied) => (route, wrote) = applied,
            Err(problem) => outcome = Err(problem),
        }
    }
    report(resource, namespace, &outcome, route, context).await?;
    Ok(outcome.map(|_| wrote))
}

/// Writes the objects. A refusal that will not pass is the resource's problem.
async fn apply<K: Reconciled>(
    resource: &K,
    namespace: &str,
    desired: &Desired,
    context: &Context,
) -> Result<Result<(RouteState, Wrote), Problem>, ReconcileError> {
    let objects = &context.objects;
    let name = object_name::<K>(&resource.name_any());
    let config_name = format!("{CONFIG_MAP_PREFIX}{}", resource.name_any());
    let owner = resource.uid().unwrap_or_default();

    let mut writes = Vec::new();
    if let Some(config_map) = &desired.config_map {
        writes.push(("ConfigMap", objects.apply("ConfigMap", config_map).await));
    }
    writes.push((
        "Deployment",
        objects.apply("Deployment", &desired.deployment).await,
    ));
    writes.push((
        "Service",
        match &desired.service {
            Some(service) => objects.apply("Service", service).await,
            None => objects.delete("Service", namespace, &name, &owner).await,
        },
    ));
    if desired.config_map.is_none() && K::COMPONENT == ModelApi::COMPONENT {
        let deleted = objects
            .delete("ConfigMap", namespace, &config_name, &owner)
            .await;
        writes.push(("ConfigMap", deleted));
    }
    let mut state = RouteState::Unwanted;
    match &desired.route {
        Some(_) if !context.caches.routes_are_served() => state = RouteState::ApiMissing,
        Some(route) => {
            state = RouteState::Applied;
            writes.push(("HTTPRoute", objects.apply("HTTPRoute", route).await));
        }
        None if context.settings.gateway.is_some() => {
            writes.push((
                "HTTPRoute",
                objects.delete("HTTPRoute", namespace, &name, &owner).await,
            ));
        }
        None => {}
    }
    let mut wrote = Wrote::Nothing;
    for (kind, result) in writes {
        match result {
            Ok(false) => {}
            Ok(true) => wrote = Wrote::Something,
            // 400 and 422: what is written is not valid, and will not be by trying again.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
                let message = format!(
                    "the API server refuses the {kind}: {}; correct the spec",
                    status.message
                );
                return Ok(Err(Problem::Invalid(message)));
            }
            Err(source) => {
                let what = format!("cannot write {kind} {namespace}/{name}");
                return Err(ReconcileError::Api { what, source });
            }
        }
    }
    Ok(Ok((state, wrote)))
}

/// Writes the status where it differs, and tells of changes by events.
async fn report<K: Reconciled>(
    resource: &K,
    namespace: &str,
    outcome: &Result<Desired, Problem>,
    route: RouteState,
    context: &Context,
) -> Result<(), ReconcileError> {
    let uid = resource.uid().unwrap_or_default();
    let mut resource = resource.clone();
    if let Some(status) = context.statuses.get(&uid) {
        *resource.status_mut() = Some(status);
    }
    let name = object_name::<K>(&resource.name_any());
    let deployment = context.objects.deployment(namespace, &name);
    let now = Time(Timestamp::now());
    let status = reconcile::status(&resource, outcome, deployment.as_ref(), route, &now);
    let previous = resource.status().cloned();
    if previous.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let patch = status_patch(&resource, &status);
    let params = PatchParams::apply(MANAGER).force();
    let kind = K::kind(&()).into_owned();
    let name = resource.name_any();
    let patch = Patch::Apply(&patch);
    let request = api.patch_status(&name, &params, &patch);
    match spans::write("status", &kind, namespace, &name, request).await {
        Ok(_) => {}
        // Deleted meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(()),
        Err(source) => {
            let what = format!("cannot write the status of {namespace}/{name}");
            return Err(ReconcileError::Api { what, source });
        }
    }
    let labels = ByWrite {
        kind,
        verb: "status",
    };
    context.metrics.writes.get_or_create(&labels).inc();
    context.statuses.insert(uid, status.clone());
    for event in events(&previous.unwrap_or_default(), &status, outcome) {
        let about = resource.object_ref(&());
        // Its own name is made by the recorder: the span has the one of what it is about.
        let request = context.recorder.publish(&event, &about);
        if let Err(error) = spans::write("publish", "Event", namespace, &name, request).await {
            // An event is a convenience; the status holds the same.
            tracing::warn!(%error, "cannot publish an event");
        }
    }
    Ok(())
}

/// Events for what has changed between two statuses.
fn events(
    previous: &ComponentStatus,
    status: &ComponentStatus,
    outcome: &Result<Desired, Problem>,
) -> Vec<Event> {
    let event = |type_, reason: &str, note: &str| Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note.to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let mut events = Vec::new();
    let message = status.message.as_deref().unwrap_or_default();
    let message_changed = previous.message != status.message;
    match status.phase {
        Phase::Failed if message_changed => {
            events.push(event(EventType::Warning, "Failed", message))
        }
        Phase::Waiting if message_changed => {
            events.push(event(EventType::Normal, "Waiting", message))
        }
        Phase::Ready if previous.phase != Phase::Ready => {
            events.push(event(EventType::Normal, "Ready", message));
        }
        _ => {}
    }
    let newly_false = |kind: &str| {
        let find = |status: &ComponentStatus| {
            let found = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == kind);
            found.map(|condition| (condition.status.clone(), condition.reason.clone()))
        };
        let now = find(status).filter(|(status, _)| status == "False");
        now.is_some() && now != find(previous)
    };
    if let Ok(desired) = outcome
        && desired.telemetry.warning
        && newly_false("TelemetryConfigured")
    {
        let report = &desired.telemetry;
        events.push(event(EventType::Warning, report.reason, &report.message));
    }
    if newly_false("GatewayRouteConfigured") {
        let note =
            "the cluster has no HTTPRoute; the route follows when the Gateway API is installed";
        events.push(event(EventType::Warning, "GatewayApiMissing", note));
    }
    events
}
