//! The calls that an answer asks for, gathered from its pieces.

use super::reply::{CallStyle, MOST_TOOLS, ToolCall};

/// The calls that an answer asks for.
#[derive(Debug, Default)]
pub struct Calls {
    calls: Vec<ToolCall>,
    /// Which choice's, and which of it, as far as pieces say that.
    places: Vec<Option<(u64, u64)>>,
}

/// A piece of a call.
#[derive(Debug, Default)]
pub struct CallPiece {
    /// Number in its choice.
    pub index: Option<u64>,
    /// Id of the call.
    pub id: Option<String>,
    /// What is called.
    pub name: Option<String>,
    /// It is something else than a call that the client is to make.
    pub is_other: bool,
}

impl Calls {
    /// Takes a piece of a call of the choice. The first piece of a call has its name; the others
    /// have its number or its id, or are told again whole. Whether the call is a new one.
    pub fn push(&mut self, choice: u64, piece: CallPiece) -> bool {
        let Some(name) = piece
            .name
            .filter(|name| !name.is_empty() && !piece.is_other)
        else {
            return false;
        };
        let place = piece.index.map(|index| (choice, index));
        let id = piece.id.filter(|id| !id.is_empty());
        let mut known = self.calls.iter().zip(&self.places);
        let is_known = known.any(|(call, its_place)| match (&id, &call.id) {
            (Some(id), Some(its_id)) => id == its_id,
            _ => place.is_some() && place == *its_place,
        });
        if !is_known {
            self.add(id, name, CallStyle::Native, place);
        }
        !is_known
    }

    /// A call in a fenced block.
    pub fn fenced(&mut self, name: String, style: CallStyle) {
        self.add(None, name, style, None);
    }

    /// The calls, in order.
    pub fn finish(self) -> Vec<ToolCall> {
        self.calls
    }

    fn add(
        &mut self,
        id: Option<String>,
        name: String,
        style: CallStyle,
        place: Option<(u64, u64)>,
    ) {
        if self.calls.len() < MOST_TOOLS {
            self.calls.push(ToolCall { id, name, style });
            self.places.push(place);
        }
    }
}
