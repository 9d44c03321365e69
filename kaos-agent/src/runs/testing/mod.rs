//! Builders of exchanges, and a language for tests: see [`script`].

pub mod late;
pub mod meanings;
pub mod script;
mod spelled;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::capture::event::{Endpoints, Pid, SocketId};
use crate::exchanges::exchange::{
    Actor, Body, Exchange, ExchangeId, HttpVersion, Outcome, Request, Response, Role,
};
use crate::identity::agent::AgentSettings;
use crate::identity::service::{Batching, BesideSdk, MetricReading, Sampler, SdkTraces, Service};
use crate::time::Nanos;

/// Nanoseconds of a millisecond.
pub const MILLISECOND: Nanos = 1_000_000;

/// A service that wants everything.
pub fn service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        resource: BTreeMap::from([("service.name".to_owned(), name.to_owned())]),
        traces: None,
        metrics: None,
        batching: Batching::default(),
        metric_reading: MetricReading::default(),
        sampler: Sampler::ParentBasedAlwaysOn,
        value_limit: None,
        http_server_spans: true,
        http_client_spans: true,
        excluded_urls: Vec::new(),
        agent: AgentSettings::default(),
        beside_sdk: BesideSdk::Complement,
        sdk_traces: SdkTraces::Anyhow,
        is_instrumented: false,
    }
}

/// Makes a request; a served one, until told otherwise.
#[derive(Debug, Clone)]
pub struct RequestBuilder {
    request: Request,
    client: SocketAddr,
    server: SocketAddr,
    unix: Option<(u64, u64)>,
}

impl RequestBuilder {
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn new(method: &str, target: &str) -> Self {
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let request = Request {
            id: ExchangeId(1),
            role: Role::Server,
            actor: Actor {
                pid: 1,
                tid: 1,
                label: crate::capture::event::Label::Unknown,
            },
            socket: SocketId(1),
            endpoints: Endpoints::Unix {
                local: 0,
                remote: 0,
            },
            position: 0,
            at: 0,
            method: method.to_owned(),
            target: target.to_owned(),
            version: HttpVersion::Http11,
            headers: HeaderMap::new(),
            tls: false,
            is_understood_later: false,
        };
        let builder = Self {
            request,
            client: anywhere,
            server: anywhere,
            unix: None,
        };
        builder.connection(0).served_at("10.0.0.2:8000")
    }

    pub fn id(mut self, id: u64) -> Self {
        self.request.id = ExchangeId(id);
        self
    }

    pub fn client(mut self) -> Self {
        self.request.role = Role::Client;
        self
    }

    pub fn server(mut self) -> Self {
        self.request.role = Role::Server;
        self
    }

    pub fn pid(mut self, pid: Pid) -> Self {
        self.request.actor.pid = pid;
        self
    }

    /// What moved its first byte.
    pub fn moved_by(mut self, actor: Actor) -> Self {
        self.request.actor = actor;
        self
    }

    pub fn socket(mut self, socket: u64) -> Self {
        self.request.socket = SocketId(socket);
        self
    }

    pub fn at(mut self, at: Nanos) -> Self {
        self.request.at = at;
        self
    }

    pub fn tls(mut self) -> Self {
        self.request.tls = true;
        self
    }

    /// What it asks for is told after its start.
    pub fn understood_later(mut self) -> Self {
        self.request.is_understood_later = true;
        self
    }

    pub fn http10(mut self) -> Self {
        self.request.version = HttpVersion::Http10;
        self
    }

    /// Adds a header, where the value may be one.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            let name = HeaderName::from_static(name);
            self.request.headers.append(name, value);
        }
        self
    }

    /// The client's address is one of its own.
    pub fn connection(mut self, number: u16) -> Self {
        self.client = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 40_000 + number));
        self
    }

    pub fn position(mut self, position: u64) -> Self {
        self.request.position = position;
        self
    }

    pub fn served_at(mut self, server: &str) -> Self {
        self.server = server.parse().expect("an address with a port");
        self
    }

    pub fn unix(mut self, client: u64, server: u64) -> Self {
        self.unix = Some((client, server));
        self
    }

    pub fn build(self) -> Request {
        let is_client = self.request.role == Role::Client;
        let endpoints = match self.unix {
            Some((client, server)) => {
                let (local, remote) = in_order(is_client, client, server);
                Endpoints::Unix { local, remote }
            }
            None => {
                let (local, remote) = in_order(is_client, self.client, self.server);
                Endpoints::Tcp {
                    local,
                    remote,
                    network_namespace: 1,
                }
            }
        };
        Request {
            endpoints,
            ..self.request
        }
    }

    /// The exchange of this request and a response without a body.
    pub fn answered(self, status: u16, ended_at: Nanos) -> Exchange {
        let request = self.build();
        let response = Response {
            actor: request.actor,
            at: ended_at,
            status,
            headers: HeaderMap::new(),
            body: Body::default(),
            first_body_at: None,
            events: None,
        };
        Exchange {
            request: Arc::new(request),
            request_body: Body::default(),
            response: Some(response),
            ended_at,
            outcome: Outcome::Complete,
            operation: None,
            reply: None,
        }
    }

    /// The exchange of this request that ended without a response.
    pub fn unanswered(self, outcome: Outcome, ended_at: Nanos) -> Exchange {
        Exchange {
            response: None,
            outcome,
            ..self.answered(0, ended_at)
        }
    }
}

fn in_order<T>(is_client: bool, client: T, server: T) -> (T, T) {
    if is_client {
        (client, server)
    } else {
        (server, client)
    }
}
