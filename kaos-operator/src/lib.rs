//! The KAOS operator: turns the custom resources `Agent`, `MCPServer` and `ModelAPI` into
//! Deployments, Services, ConfigMaps and HTTPRoutes whose pods the node agent can find and name.

pub mod api;
pub mod controller;
pub mod reconcile;
pub mod render;
pub mod settings;
pub mod telemetry;
pub mod webhook;
