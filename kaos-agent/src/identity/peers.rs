//! Who has which address of the cluster.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::capture::event::{PeerEvent, PeerInfo};
use crate::time::Nanos;

/// Services and pods with addresses that are known at once: Kubernetes is made for 10 000 Services in a
/// cluster; and this node's pods. Some 300 bytes each.
pub const MAX_PEERS: usize = 16_384;

/// Addresses of one of them: each has one of each family.
const MAX_ADDRESSES: usize = 2;

/// Addresses that are known at once, those that are nobody's any more among them.
const MAX_KNOWN: usize = MAX_ADDRESSES * MAX_PEERS;

/// How long, in event time, an address that is nobody's any more is still told by its last name: calls
/// to it may end, or fail, after it is gone.
const GONE_KEPT: Nanos = 60_000_000_000;

/// The addresses.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_uid: FxHashMap<String, Arc<PeerInfo>>,
    by_address: FxHashMap<IpAddr, Held>,
    /// Addresses that are nobody's any more and since when, in that order.
    gone: VecDeque<(Nanos, IpAddr)>,
}

#[derive(Debug)]
struct Held {
    peer: Arc<PeerInfo>,
    gone_at: Option<Nanos>,
}

impl Peers {
    /// Takes in news; false where there are too many.
    pub(super) fn push(&mut self, event: &PeerEvent) -> bool {
        let before = self.by_uid.remove(&event.uid);
        if let Some(before) = before {
            self.release(&before, event.at);
        }
        let Some(peer) = &event.peer else {
            return true;
        };
        // Those that are gone have a place for as long as nobody else needs it.
        while self.by_address.len().max(self.gone.len()) >= MAX_KNOWN && !self.gone.is_empty() {
            self.forget_one();
        }
        if self.by_uid.len() >= MAX_PEERS {
            return false;
        }
        let peer = Arc::new(PeerInfo::clone(peer));
        for address in peer.addresses.iter().take(MAX_ADDRESSES) {
            let held = Held {
                peer: Arc::clone(&peer),
                gone_at: None,
            };
            self.by_address.insert(*address, held);
        }
        self.by_uid.insert(event.uid.clone(), peer);
        true
    }

    /// Who has this address, or had it a moment ago.
    pub(super) fn at(&self, address: IpAddr) -> Option<Arc<PeerInfo>> {
        Some(Arc::clone(&self.by_address.get(&address)?.peer))
    }

    /// Services and pods that are known.
    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Nanos) {
        let before = now.saturating_sub(GONE_KEPT);
        while self.gone.front().is_some_and(|(at, _)| *at < before) {
            self.forget_one();
        }
    }

    fn release(&mut self, peer: &Arc<PeerInfo>, at: Nanos) {
        for address in &peer.addresses {
            // It may have another owner already.
            if let Some(held) = self.by_address.get_mut(address)
                && Arc::ptr_eq(&held.peer, peer)
            {
                held.gone_at = Some(at);
                self.gone.push_back((at, *address));
            }
        }
    }

    /// Forgets the address that was given up first, unless it has a new owner.
    fn forget_one(&mut self) {
        if let Some((at, address)) = self.gone.pop_front()
            && let Some(held) = self.by_address.get(&address)
            && held.gone_at == Some(at)
        {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 96, 0, last])
    }

    fn told(at: Nanos, uid: &str, addresses: &[IpAddr]) -> PeerEvent {
        PeerEvent {
            at,
            uid: uid.to_owned(),
            peer: Some(Box::new(PeerInfo {
                addresses: addresses.to_vec(),
                service_name: uid.to_owned(),
                ..PeerInfo::default()
            })),
        }
    }

    fn gone(at: Nanos, uid: &str) -> PeerEvent {
        PeerEvent {
            at,
            uid: uid.to_owned(),
            peer: None,
        }
    }

    fn name(peers: &Peers, last: u8) -> Option<String> {
        Some(peers.at(address(last))?.service_name.clone())
    }

    #[test]
    fn an_address_is_told_by_its_last_name_for_a_minute() {
        let mut peers = Peers::default();
        assert!(peers.push(&told(0, "a", &[address(1), address(2)])));
        assert_eq!(name(&peers, 2).as_deref(), Some("a"));
        assert!(peers.push(&gone(SECOND, "a")));
        peers.tick(61 * SECOND);
        assert_eq!(name(&peers, 1).as_deref(), Some("a"));
        peers.tick(61 * SECOND + 1);
        assert_eq!(name(&peers, 1), None);
        assert!(peers.by_uid.is_empty() && peers.by_address.is_empty() && peers.gone.is_empty());
    }

    #[test]
    fn an_address_that_is_used_again_is_the_new_ones() {
        let mut peers = Peers::default();
        peers.push(&told(0, "a", &[address(1)]));
        // News of two objects come in either order.
        peers.push(&told(1, "b", &[address(1)]));
        peers.push(&gone(2, "a"));
        peers.tick(100 * SECOND);
        assert_eq!(name(&peers, 1).as_deref(), Some("b"));
        peers.push(&gone(100 * SECOND, "b"));
        peers.push(&told(101 * SECOND, "c", &[address(1)]));
        peers.tick(200 * SECOND);
        assert_eq!(name(&peers, 1).as_deref(), Some("c"));
        assert_eq!(peers.len(), 1);
    }

    #[test]
    fn other_addresses_take_the_place_of_those_before() {
        let mut peers = Peers::default();
        peers.push(&told(0, "a", &[address(1)]));
        peers.push(&told(1, "a", &[address(2)]));
        peers.tick(100 * SECOND);
        assert_eq!(name(&peers, 1), None);
        assert_eq!(name(&peers, 2).as_deref(), Some("a"));
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut peers = Peers::default();
        let nth = |number: usize| {
            let number = u32::try_from(number).expect("a small one");
            [IpAddr::from(Ipv4Addr::from(number))]
        };
        for number in 0..MAX_PEERS {
            assert!(peers.push(&told(0, &number.to_string(), &nth(number))));
        }
        let one_more = told(0, "one more", &nth(MAX_PEERS));
        assert!(!peers.push(&one_more));
        // What is known may change.
        assert!(peers.push(&told(0, "7", &nth(7))));
        peers.push(&gone(1, "7"));
        assert!(peers.push(&one_more));
        // However many come and go within the minute.
        for number in 0..3 * MAX_PEERS {
            peers.push(&gone(2, "one more"));
            peers.push(&told(2, "one more", &nth(MAX_PEERS + number)));
            peers.push(&gone(2, "8"));
            peers.push(&told(2, "8", &nth(8)));
        }
        assert!(peers.by_address.len() <= MAX_KNOWN && peers.gone.len() <= MAX_KNOWN);
    }
}
