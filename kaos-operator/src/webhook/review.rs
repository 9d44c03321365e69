//! One review of one resource.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use kube::core::object::HasSpec;
use kube::{Api, Client, ResourceExt as _};

use crate::api::{Agent, McpServer, ModelApi};
use crate::controller::{ByResult, Caches, Metrics, Reconciled, references};
use crate::reconcile::{self, Desired, ModelApiReference, Problem};
use crate::settings::Settings;

/// What all reviews share.
pub struct Reviewer {
    client: Client,
    settings: Settings,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
}

/// A kind that is reviewed.
pub trait Reviewed: Reconciled + HasSpec<Spec: PartialEq + Send + Sync> {
    /// As [`Reconciled::desired`], but of what it refers to with what the API server has now, where
    /// that can decide whether the spec must be changed. A cache that lags by the milliseconds
    /// between two documents of one `kubectl apply` must not be a reason to refuse the second.
    fn desired_now(
        &self,
        reviewer: &Reviewer,
    ) -> impl Future<Output = Result<Result<Desired, Problem>, kube::Error>> + Send {
        std::future::ready(Ok(self.desired(&reviewer.caches, &reviewer.settings)))
    }
}

impl Reviewed for McpServer {}

impl Reviewed for ModelApi {}

impl Reviewed for Agent {
    async fn desired_now(
        &self,
        reviewer: &Reviewer,
    ) -> Result<Result<Desired, Problem>, kube::Error> {
        let namespace = self.namespace().unwrap_or_default();
        let models: Api<ModelApi> = Api::namespaced(reviewer.client.clone(), &namespace);
        let model = models.get_opt(&self.spec.model_api).await?;
        let mut references = references(self, &reviewer.caches);
        references.model_api = model.as_ref().map(ModelApiReference::from);
        Ok(reconcile::agent(self, &references, &reviewer.settings))
    }
}

/// What a review comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Allowed,
    /// It is stored, and somebody should know.
    Warned(String),
    Refused(String),
}

impl Reviewer {
    /// Reviews with these settings and caches.
    pub fn new(
        client: Client,
        settings: Settings,
        caches: Arc<Caches>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            client,
            settings,
            caches,
            metrics,
        }
    }

    async fn judge<K: Reviewed>(
        &self,
        request: &AdmissionRequest<K>,
    ) -> Result<Verdict, kube::Error> {
        let Some(resource) = &request.object else {
            return Ok(Verdict::Allowed);
        };
        // What is not about the spec must stay possible for a resource that is bad already.
        let old = request.old_object.as_ref();
        if old.is_some_and(|old| old.spec() == resource.spec())
            || resource.meta().deletion_timestamp.is_some()
        {
            return Ok(Verdict::Allowed);
        }
        let mut outcome = resource.desired(&self.caches, &self.settings);
        if matches!(outcome, Err(Problem::Invalid(_))) {
            outcome = resource.desired_now(self).await?;
        }
        Ok(match outcome {
            Ok(desired) if desired.telemetry.warning => Verdict::Warned(desired.telemetry.message),
            Ok(_) => Verdict::Allowed,
            Err(Problem::Waiting(message)) => Verdict::Warned(format!("it will wait: {message}")),
            Err(Problem::Invalid(message)) => Verdict::Refused(message),
        })
    }

    fn count<K: Reviewed>(&self, verdict: &Verdict) {
        let result = match verdict {
            Verdict::Allowed => "allowed",
            Verdict::Warned(_) => "warned",
            Verdict::Refused(_) => "refused",
        };
        let labels = ByResult {
            component: K::COMPONENT,
            result,
        };
        self.metrics.reviews.get_or_create(&labels).inc();
    }
}

/// The route on which the API server asks about one kind.
pub fn route<K: Reviewed>() -> MethodRouter<Arc<Reviewer>> {
    post(answer::<K>)
}

type Refusal = (StatusCode, String);

/// Answers a review. What cannot be judged is an error, on which the API server's failurePolicy
/// decides.
async fn answer<K: Reviewed>(
    State(reviewer): State<Arc<Reviewer>>,
    Json(review): Json<AdmissionReview<K>>,
) -> Result<Json<AdmissionReview<DynamicObject>>, Refusal> {
    let request: AdmissionRequest<K> = review
        .try_into()
        .map_err(|_| (StatusCode::BAD_REQUEST, "no request in it".to_owned()))?;
    if !reviewer.caches.are_synced() {
        let message = "the caches are not synced yet".to_owned();
        return Err((StatusCode::SERVICE_UNAVAILABLE, message));
    }
    let verdict = reviewer.judge(&request).await.map_err(|error| {
        let message = format!("cannot read what it refers to: {error}");
        tracing::warn!(component = K::COMPONENT, message, "a review failed");
        (StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    reviewer.count::<K>(&verdict);
    let mut response = AdmissionResponse::from(&request);
    match verdict {
        Verdict::Allowed => {}
        Verdict::Warned(message) => response.warnings = Some(vec![message]),
        Verdict::Refused(message) => response = response.deny(message),
    }
    Ok(Json(response.into_review()))
}
