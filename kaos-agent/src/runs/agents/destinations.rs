//! What a process calls at an address: a model, a server of tools, another agent.

use std::net::SocketAddr;

use hashlink::LruCache;

use crate::capture::event::Endpoints;
use crate::exchanges::exchange::Request;
use crate::identity::agent::{AgentSettings, Authority};
use crate::runs::url::RequestUrl;

/// Addresses that are remembered; the longest unused gives way. One node's agents have fewer.
const MAX_ADDRESSES: usize = 4_096;

/// What is behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The API of a model.
    Model,
    /// A server of tools.
    Tools,
    /// An agent of this name.
    Peer(String),
}

/// What earlier exchanges showed.
#[derive(Debug)]
pub struct Destinations {
    /// By network namespace and address.
    learned: LruCache<(u32, SocketAddr), Destination>,
}

impl Default for Destinations {
    fn default() -> Self {
        Self {
            learned: LruCache::new(MAX_ADDRESSES),
        }
    }
}

impl Destinations {
    /// An exchange showed what is behind the other end. Who has shown the card of an agent is one,
    /// however it is spoken to.
    pub fn learn(&mut self, endpoints: Endpoints, destination: Destination) {
        let Some(address) = address(endpoints) else {
            return;
        };
        let is_new = match self.learned.get(&address) {
            Some(Destination::Peer(_)) => matches!(destination, Destination::Peer(_)),
            Some(known) => *known != destination,
            None => true,
        };
        if is_new {
            self.learned.insert(address, destination);
        }
    }

    /// What is behind the other end: by the settings of the process, or else by earlier exchanges.
    pub fn of(&mut self, endpoints: Endpoints, settings: &AgentSettings) -> Option<Destination> {
        let (namespace, remote) = address(endpoints)?;
        let is_here = |authority: &Authority| authority.is_at(remote);
        configured(settings, is_here).or_else(|| self.learned.get(&(namespace, remote)).cloned())
    }

    /// The agent that a request goes to, where it is known that it goes to one.
    pub fn peer(&mut self, request: &Request, settings: &AgentSettings) -> Option<String> {
        let named = |authority: &Authority| is_named(authority, request);
        let destination = configured(settings, named);
        match destination.or_else(|| self.of(request.endpoints, settings)) {
            Some(Destination::Peer(name)) => Some(name),
            Some(Destination::Model | Destination::Tools) | None => None,
        }
    }
}

/// Name of the MCP server that a request goes to, as the settings call it.
#[must_use]
pub fn tool_server(request: &Request, settings: &AgentSettings) -> Option<String> {
    let is_it = |authority: &Authority| {
        is_named(authority, request)
            || address(request.endpoints).is_some_and(|(_, remote)| authority.is_at(remote))
    };
    let mut servers = settings.mcp_servers.iter();
    let server = servers.find(|(_, authority)| is_it(authority));
    server.map(|(name, _)| name.clone())
}

/// A name for the agent that a request goes to, by the host that it asks for: that of the agent
/// where it is a Service of KAOS, else its first label, else the address.
#[must_use]
pub fn name_by_host(request: &Request) -> String {
    let Some((host, port)) = RequestUrl::of(request).host_and_port() else {
        return address(request.endpoints)
            .map_or_else(String::new, |(_, remote)| remote.to_string());
    };
    if host.parse::<std::net::IpAddr>().is_ok() || host == "localhost" {
        return match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
    }
    let label = host.split('.').next().unwrap_or(host);
    label.strip_prefix("agent-").unwrap_or(label).to_owned()
}

fn is_named(authority: &Authority, request: &Request) -> bool {
    RequestUrl::of(request)
        .host_and_port()
        .is_some_and(|(host, port)| authority.is_named(host, port))
}

fn configured(settings: &AgentSettings, is_it: impl Fn(&Authority) -> bool) -> Option<Destination> {
    let peer = settings.peers.iter().find(|(_, peer)| is_it(peer));
    if let Some((name, _)) = peer {
        return Some(Destination::Peer(name.clone()));
    }
    if settings.mcp_servers.iter().any(|(_, server)| is_it(server)) {
        return Some(Destination::Tools);
    }
    let is_model = settings.model_api.as_ref().is_some_and(is_it);
    is_model.then_some(Destination::Model)
}

/// The address of the other end.
#[must_use]
pub fn remote(endpoints: Endpoints) -> Option<SocketAddr> {
    address(endpoints).map(|(_, remote)| remote)
}

fn address(endpoints: Endpoints) -> Option<(u32, SocketAddr)> {
    match endpoints {
        Endpoints::Tcp {
            remote,
            network_namespace,
            ..
        } => Some((network_namespace, remote)),
        Endpoints::Unix { .. } | Endpoints::Unknown => None,
    }
}
