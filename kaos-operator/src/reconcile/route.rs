//! The HTTPRoute in front of the Service, where the Gateway API is enabled.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::{Problem, names, object_meta};
use crate::api::Component;
use crate::settings::{Gateway, is_duration};

/// Group and version of the HTTPRoute that we write.
pub const HTTP_ROUTE_API: (&str, &str) = ("gateway.networking.k8s.io", "v1");

/// HTTPRoute for kube's dynamic API.
pub fn http_route_resource() -> ApiResource {
    let (group, version) = HTTP_ROUTE_API;
    let kind = GroupVersionKind::gvk(group, version, "HTTPRoute");
    ApiResource::from_gvk_with_plural(&kind, "httproutes")
}

/// The HTTPRoute of a resource: a path prefix of its own, rewritten away.
///
/// # Errors
/// The resource's timeout is no duration.
pub fn http_route<K: Component>(
    resource: &K,
    name: &str,
    gateway: &Gateway,
    port: i32,
) -> Result<DynamicObject, Problem> {
    let metadata = object_meta(resource, names::object_name::<K>(name));
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let (segment, default_timeout) = match K::COMPONENT {
        "agent" => ("agent", &gateway.agent_timeout),
        "mcpserver" => ("mcp", &gateway.mcp_timeout),
        _ => ("modelapi", &gateway.modelapi_timeout),
    };
    let own = resource
        .gateway_route()
        .and_then(|route| route.timeout.as_ref());
    if let Some(timeout) = own
        && !is_duration(timeout)
    {
        return Err(Problem::invalid(format!(
            "gatewayRoute.timeout {timeout:?} is no duration; write it like 120s or 1m30s"
        )));
    }
    let mut route = DynamicObject::new("", &http_route_resource()).data(json!({"spec": {
        "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace}],
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": format!("/{namespace}/{segment}/{name}")}}],
            "filters": [{"type": "URLRewrite", "urlRewrite": {
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
            }}],
            "backendRefs": [{"name": names::object_name::<K>(name), "port": port}],
            "timeouts": {"request": own.unwrap_or(default_timeout)},
        }],
    }}));
    route.metadata = metadata;
    Ok(route)
}
