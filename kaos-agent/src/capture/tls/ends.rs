//! The ends of TLS connections that are known only after their first bytes.
//!
//! Where a TLS library works in memory, a client's first request is written before anybody can know
//! on which socket: that is told a moment later, when the encrypted bytes are sent. The request's
//! events wait that moment, so that whatever comes after sees a request with its ends.

use crate::capture::event::{Data, Direction, Endpoints, Event, SocketId};
use crate::time::Nanos;

/// How long events wait for the socket of a TLS connection, ns: what Python and node do between the
/// two is done within a tenth of a millisecond, unless somebody else gets their CPU.
const PATIENCE: Nanos = 20_000_000;

/// The ends of a TLS connection are known now: enters them into its events that were read before.
pub fn connected(events: &mut [Event], connection: SocketId, ends: Endpoints) {
    for event in events.iter_mut().rev() {
        if let Event::Data(Data {
            socket, endpoints, ..
        }) = event
            && *socket == connection
            && *endpoints == Endpoints::Unknown
        {
            *endpoints = ends;
        }
    }
}

/// Takes back, from the end of what was read until `now`, the first bytes of a TLS connection whose
/// ends may be told next, with everything after them.
#[must_use]
pub fn hold_back(events: &mut Vec<Event>, now: Nanos) -> Vec<Event> {
    let may_connect = |event: &Event| match event {
        Event::Data(data) => {
            data.endpoints == Endpoints::Unknown
                && data.direction == Direction::Sent
                && data.stream_start
                && data.at.saturating_add(PATIENCE) > now
        }
        _ => false,
    };
    match events.iter().position(may_connect) {
        Some(first) => events.split_off(first),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sent(at: Nanos, socket: u64) -> Event {
        Event::Data(Data {
            at,
            pid: 1,
            tid: 1,
            label: crate::capture::event::Label::Unknown,
            socket: SocketId(socket),
            endpoints: Endpoints::Unknown,
            direction: Direction::Sent,
            position: 0,
            bytes: Bytes::from_static(b"GET"),
            skipped: 0,
            stream_start: true,
            end_of_stream: false,
        })
    }

    fn lost(at: Nanos) -> Event {
        Event::Lost { at, records: 1 }
    }

    #[test]
    fn ends_reach_back() {
        let ends = Endpoints::Unix {
            local: 1,
            remote: 2,
        };
        let mut events = vec![sent(1, 7), sent(2, 8)];
        connected(&mut events, SocketId(8), ends);
        let found: Vec<Endpoints> = events
            .iter()
            .filter_map(|event| match event {
                Event::Data(data) => Some(data.endpoints),
                _ => None,
            })
            .collect();
        assert_eq!(found, [Endpoints::Unknown, ends]);
    }

    #[test]
    fn events_wait_in_their_order_and_not_for_long() {
        let mut events = vec![lost(1), sent(2, 7), lost(3)];
        assert_eq!(hold_back(&mut events, 4), [sent(2, 7), lost(3)]);
        assert_eq!(events, [lost(1)]);
        let mut events = vec![sent(2, 7), lost(3)];
        assert_eq!(hold_back(&mut events, 2 + PATIENCE), []);
        assert_eq!(events.len(), 2);
    }
}
