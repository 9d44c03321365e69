//! Has the API server trust our certificate, and replaces it in time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::certificate::{Certificate, Resolver};
use super::{Options, Trusted};
use crate::reconcile::MANAGER;

/// Authorities in the configuration, the newest: those of all replicas, twice while they are
/// replaced, and some of replicas that are gone. A replica whose own was put out adds it again.
const MOST_AUTHORITIES: usize = 32;
/// Last line of a certificate in PEM.
const END: &str = "-----END CERTIFICATE-----\n";
/// Longest time that API servers get to see a changed configuration, before a certificate of a new
/// authority is served.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);
/// Between two attempts after an error.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps our authority in the configuration, and our certificate valid.
pub struct Trust {
    api: Api<ValidatingWebhookConfiguration>,
    options: Options,
    resolver: Arc<Resolver>,
    trusted: Trusted,
    current: Option<Current>,
    next: Option<Next>,
}

/// The certificate that is served.
struct Current {
    /// The name by which the API server reaches us.
    name: String,
    authority: String,
    replace_at: Instant,
}

/// The certificate that is served next.
struct Next {
    certificate: Certificate,
    replace_at: Instant,
    /// Known once its authority is in the configuration.
    serve_at: Option<Instant>,
}

impl Trust {
    /// Nothing is served before the configuration tells by which name we are reached.
    pub fn new(
        client: Client,
        options: Options,
        resolver: Arc<Resolver>,
        trusted: Trusted,
    ) -> Self {
        Self {
            api: Api::all(client),
            options,
            resolver,
            trusted,
            current: None,
            next: None,
        }
    }

    /// For ever: acts whenever the configuration changes, and when a certificate is to be replaced.
    pub async fn keep(mut self) {
        let name = &self.options.configuration;
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let changes = watcher(self.api.clone(), only)
            .default_backoff()
            .applied_objects();
        let mut changes = std::pin::pin!(changes);
        let mut due = Instant::now();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(%error, "cannot watch the webhook's configuration");
                        continue;
                    }
                    None => return,
                },
                () = sleep_until(due) => {}
            }
            due = match self.act().await {
                Ok(due) => due,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "the webhook's certificate; trying again");
                    Instant::now() + RETRY
                }
            };
        }
    }

    /// Does what is due, and says when to look again.
    async fn act(&mut self) -> Result<Instant> {
        let now = Instant::now();
        let name = reached_by(&self.configuration().await?)?;
        let current = match self.current.take() {
            Some(current) if current.name == name => current,
            // The first, or one for a name by which nobody reaches us any more.
            _ => {
                self.next = None;
                let made = self.make(&name)?;
                self.resolver.serve(Arc::clone(&made.served));
                Current {
                    name,
                    authority: made.authority,
                    replace_at: self.replace_at(now),
                }
            }
        };
        let current = self.current.insert(current);
        if self.next.is_none() && now >= current.replace_at {
            let name = current.name.clone();
            self.next = Some(Next {
                certificate: self.make(&name)?,
                replace_at: self.replace_at(now),
                serve_at: None,
            });
        }
        self.publish().await?;
        self.trusted.set();
        self.serve_next(now)
    }

    /// Serves the next certificate once its authority has been in the configuration for a while.
    fn serve_next(&mut self, now: Instant) -> Result<Instant> {
        let settling = (self.options.lifetime / 10).min(LONGEST_SETTLING);
        let current = self.current.as_mut().context("there is a certificate")?;
        let Some(mut next) = self.next.take() else {
            return Ok(current.replace_at);
        };
        let serve_at = *next.serve_at.get_or_insert(now + settling);
        if now < serve_at {
            self.next = Some(next);
            return Ok(serve_at);
        }
        tracing::info!("the webhook's certificate is replaced");
        self.resolver.serve(next.certificate.served);
        current.authority = next.certificate.authority;
        current.replace_at = next.replace_at;
        Ok(current.replace_at)
    }

    fn make(&self, name: &str) -> Result<Certificate> {
        Certificate::make(name, SystemTime::now(), self.options.lifetime)
    }

    /// When a certificate that is made now is to be replaced.
    fn replace_at(&self, now: Instant) -> Instant {
        now + self.options.lifetime * 2 / 3
    }

    async fn configuration(&self) -> Result<ValidatingWebhookConfiguration> {
        let name = &self.options.configuration;
        let read = self.api.get(name).await;
        read.with_context(|| format!("cannot read ValidatingWebhookConfiguration {name}"))
    }

    /// Adds our authorities to the configuration, where they are not in it.
    async fn publish(&self) -> Result<()> {
        let name = &self.options.configuration;
        let current = self.current.iter().map(|current| &current.authority);
        let next = self.next.iter().map(|next| &next.certificate.authority);
        let ours: Vec<&str> = current.chain(next).map(String::as_str).collect();
        loop {
            let configuration = self.configuration().await?;
            let Some(patch) = patch(&configuration, &ours) else {
                return Ok(());
            };
            let patch = serde_json::from_value(patch).context("cannot write a patch")?;
            let params = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            match self
                .api
                .patch(name, &params, &Patch::Json::<()>(patch))
                .await
            {
                Ok(_) => return Ok(()),
                // Another replica was faster: with what it has written.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    let what = format!("cannot write ValidatingWebhookConfiguration {name}");
                    return Err(error).context(what);
                }
            }
        }
    }
}

/// The name in the certificate that the API server expects.
fn reached_by(configuration: &ValidatingWebhookConfiguration) -> Result<String> {
    let mut webhooks = configuration.webhooks.iter().flatten();
    let client = webhooks.next().map(|webhook| &webhook.client_config);
    let name = match client {
        Some(WebhookClientConfig {
            service: Some(service),
            ..
        }) => Some(format!("{}.{}.svc", service.name, service.namespace)),
        Some(WebhookClientConfig { url: Some(url), .. }) => {
            let uri = url.parse::<http::Uri>().ok();
            // An address of IPv6 is written in brackets.
            let host = uri.as_ref().and_then(http::Uri::host);
            host.map(|host| host.trim_matches(['[', ']']).to_owned())
        }
        _ => None,
    };
    name.context("the webhook's configuration names neither a Service nor a URL")
}

/// What has to be written so that all webhooks trust these authorities, if anything. It is refused
/// if the configuration has changed meanwhile.
fn patch(
    configuration: &ValidatingWebhookConfiguration,
    authorities: &[&str],
) -> Option<serde_json::Value> {
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    let version = configuration.metadata.resource_version.as_ref();
    let mut operations =
        vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version})];
    for (index, webhook) in webhooks.iter().enumerate() {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        let bundle = bundle.map_or("".into(), |bundle| String::from_utf8_lossy(&bundle.0));
        if let Some(bundle) = with_authorities(&bundle, authorities) {
            let path = format!("/webhooks/{index}/clientConfig/caBundle");
            let value = ByteString(bundle.into_bytes());
            operations.push(json!({"op": "add", "path": path, "value": value}));
        }
    }
    (operations.len() > 1).then_some(operations.into())
}

/// A bundle of certificates in PEM with these added at its end, where they are not in it.
fn with_authorities(bundle: &str, authorities: &[&str]) -> Option<String> {
    let mut all: Vec<&str> = bundle.split_inclusive(END).collect();
    let before = all.len();
    for authority in authorities {
        if !all.contains(authority) {
            all.push(authority);
        }
    }
    let surplus = all.len().saturating_sub(MOST_AUTHORITIES);
    (all.len() > before).then(|| all[surplus..].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(name: usize) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{name}\n{END}")
    }

    fn configuration(client: serde_json::Value) -> ValidatingWebhookConfiguration {
        let webhook = |name: &str| json!({"name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        let configuration =
            json!({"metadata": {"resourceVersion": "7"}, "webhooks": [webhook("a"), webhook("b")]});
        serde_json::from_value(configuration).unwrap()
    }

    #[test]
    fn authorities_are_added_once_and_others_stay() {
        let (a, b, c) = (authority(1), authority(2), authority(3));
        let first = with_authorities("", &[&a]).unwrap();
        assert_eq!(first, a);
        assert_eq!(with_authorities(&first, &[&a]), None);
        let all = with_authorities(&first, &[&b, &c]).unwrap();
        assert_eq!(all, format!("{a}{b}{c}"));
        assert_eq!(with_authorities(&all, &[&c, &a]), None);
    }

    #[test]
    fn the_bundle_is_bounded_and_the_newest_stay() {
        let mut bundle = String::new();
        for name in 0..2 * MOST_AUTHORITIES {
            bundle = with_authorities(&bundle, &[&authority(name)]).unwrap();
        }
        let expected: Vec<String> = (MOST_AUTHORITIES..2 * MOST_AUTHORITIES)
            .map(authority)
            .collect();
        assert_eq!(bundle, expected.concat());
    }

    #[test]
    fn the_name_is_that_of_the_service_or_of_the_url() {
        for (client, name) in [
            (
                json!({"service": {"name": "w", "namespace": "n"}}),
                Some("w.n.svc"),
            ),
            (json!({"url": "https://10.0.0.1:8443/x"}), Some("10.0.0.1")),
            (json!({"url": "https://[fd00::1]:8443/x"}), Some("fd00::1")),
            (json!({}), None),
        ] {
            assert_eq!(reached_by(&configuration(client)).ok().as_deref(), name);
        }
    }

    #[test]
    fn every_webhook_is_patched_and_only_if_the_configuration_is_the_same() {
        let a = authority(1);
        let configuration = configuration(json!({"service": {"name": "w", "namespace": "n"}}));
        let value = serde_json::to_value(ByteString(a.clone().into_bytes())).unwrap();
        assert_eq!(
            patch(&configuration, &[&a]),
            Some(json!([
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value},
                {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": value},
            ]))
        );
        let mut trusted = configuration;
        for webhook in trusted.webhooks.iter_mut().flatten() {
            webhook.client_config.ca_bundle = Some(ByteString(a.clone().into_bytes()));
        }
        assert_eq!(patch(&trusted, &[&a]), None);
    }
}
