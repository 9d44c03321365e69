//! The two ends of one request, where both are on this node.

use std::collections::VecDeque;
use std::net::SocketAddr;

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

use crate::capture::event::Endpoints;
use crate::exchanges::exchange::{ExchangeId, Request, Role};
use crate::runs::w3c::Carried;
use crate::time::Nanos;

/// Name of a request that both ends of its connection can compute.
///
/// The destination is not part of it, since a client may have connected to a virtual address, and
/// neither is the network namespace, since the ends may live in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JoinKey {
    client: ClientSocket,
    /// Low 32 bits of the stream position of the request's first byte.
    position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ClientSocket {
    Tcp(SocketAddr),
    Unix {
        client: u64,
        server: u64,
    },
    /// Not known: a request of its own, which is the other end of none.
    Unknown(ExchangeId),
}

impl JoinKey {
    /// Name of this request.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let client = match (request.endpoints, request.role) {
            (Endpoints::Tcp { local, .. }, Role::Client) => ClientSocket::Tcp(local),
            (Endpoints::Tcp { remote, .. }, Role::Server) => ClientSocket::Tcp(remote),
            (Endpoints::Unix { local, remote }, Role::Client) => ClientSocket::Unix {
                client: local,
                server: remote,
            },
            (Endpoints::Unix { local, remote }, Role::Server) => ClientSocket::Unix {
                client: remote,
                server: local,
            },
            (Endpoints::Unknown, _) => ClientSocket::Unknown(request.id),
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the ends agree on the low 32 bits"
        )]
        let position = request.position as u32;
        Self { client, position }
    }
}

/// A request as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientEnd {
    /// Its number.
    pub id: ExchangeId,
    /// It carries on what its process was called with.
    pub forwards: bool,
}

/// A request as its server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEnd {
    /// Its number.
    pub id: ExchangeId,
    /// What it carries.
    pub carried: Option<Carried>,
}

/// Requests that wait for, or may still meet, their other end.
#[derive(Debug)]
pub struct Joins {
    /// The oldest first.
    clients: LinkedHashMap<JoinKey, ClientEnd, FxBuildHasher>,
    max_clients: usize,
    /// Client ends that are over, and until when they are remembered, in this order.
    over: VecDeque<(Nanos, JoinKey, ExchangeId)>,
    /// Those whose client end was not seen yet, and until when they wait, in this order.
    servers: LinkedHashMap<JoinKey, (ServerEnd, Nanos), FxBuildHasher>,
}

impl Joins {
    /// Remembers at most this many client ends; the oldest are forgotten first.
    #[must_use]
    pub fn new(max_clients: usize) -> Self {
        Self {
            clients: LinkedHashMap::default(),
            max_clients,
            over: VecDeque::new(),
            servers: LinkedHashMap::default(),
        }
    }

    /// A request was sent. Returns its server end, where that one waits already.
    pub fn client_began(&mut self, key: JoinKey, end: ClientEnd) -> Option<ServerEnd> {
        if self.clients.len() >= self.max_clients {
            self.clients.pop_front();
        }
        self.clients.insert(key, end);
        self.servers.remove(&key).map(|(server, _)| server)
    }

    /// A request that was sent is over: its server end may still come until then.
    pub fn client_ended(&mut self, key: JoinKey, id: ExchangeId, until: Nanos) {
        if self.clients.get(&key).is_some_and(|end| end.id == id) {
            if self.over.len() >= self.max_clients {
                self.over.pop_front();
            }
            self.over.push_back((until, key, id));
        }
    }

    /// Forgets the client ends that were remembered long enough.
    pub fn advance(&mut self, now: Nanos) {
        while let Some((until, key, id)) = self.over.front().copied()
            && until <= now
        {
            self.over.pop_front();
            // Its name may be another one's by now.
            if self.clients.get(&key).is_some_and(|end| end.id == id) {
                self.clients.remove(&key);
            }
        }
    }

    /// The client end of a request that was received.
    #[must_use]
    pub fn client_of(&self, key: JoinKey) -> Option<ClientEnd> {
        self.clients.get(&key).copied()
    }

    /// Lets a server end wait for its client end. Returns another one that waited under the same
    /// name and now does no longer.
    pub fn wait(&mut self, key: JoinKey, end: ServerEnd, until: Nanos) -> Option<ServerEnd> {
        let displaced = self.servers.insert(key, (end, until));
        displaced.map(|(server, _)| server)
    }

    /// Server ends that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.servers.len()
    }

    /// Takes out the server end that has waited longest.
    pub fn give_up_oldest(&mut self) -> Option<ServerEnd> {
        self.servers.pop_front().map(|(_, (server, _))| server)
    }

    /// Takes out a server end whose time has run out.
    pub fn give_up_expired(&mut self, now: Nanos) -> Option<ServerEnd> {
        let (_, (_, until)) = self.servers.front()?;
        if *until <= now {
            self.give_up_oldest()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::RequestBuilder;

    fn key_of(request: RequestBuilder) -> JoinKey {
        JoinKey::of(&request.build())
    }

    #[test]
    fn both_ends_compute_the_same_key() {
        let request = || RequestBuilder::get("/").connection(7).position(1 << 33 | 5);
        let client = key_of(request().client());
        assert_eq!(client, key_of(request().server()));
        assert_eq!(client, key_of(request().server().position(5)));
        assert_eq!(client, key_of(request().server().served_at("10.0.0.9:80")));
        assert_ne!(client, key_of(request().server().position(6)));
        assert_ne!(client, key_of(request().server().connection(8)));
    }

    #[test]
    fn a_client_end_is_forgotten_some_time_after_it_is_over() {
        let key = |position| key_of(RequestBuilder::get("/").client().position(position));
        let end = |id| ClientEnd {
            id: ExchangeId(id),
            forwards: false,
        };
        let mut joins = Joins::new(8);
        for id in [1, 2, 3] {
            joins.client_began(key(id), end(id));
        }
        for id in [1, 2] {
            joins.client_ended(key(id), ExchangeId(id), 10);
        }
        // Another request has the second's name by then.
        joins.client_began(key(2), end(4));
        joins.advance(9);
        assert_eq!(
            [1, 2, 3].map(|id| joins.client_of(key(id))),
            [1, 4, 3].map(|id| Some(end(id)))
        );
        joins.advance(10);
        assert_eq!(
            [1, 2, 3].map(|id| joins.client_of(key(id))),
            [None, Some(end(4)), Some(end(3))]
        );
        assert!(joins.over.is_empty());
    }

    #[test]
    fn unix_sockets_are_named_by_their_pair() {
        let request = || RequestBuilder::get("/").unix(3, 4);
        let client = key_of(request().client());
        assert_eq!(client, key_of(request().server()));
        assert_ne!(client, key_of(request().client().unix(4, 3)));
        assert_ne!(client, key_of(request().client().unix(3, 5)));
        assert_ne!(client, key_of(request().client().position(9)));
    }
}
