//! What happened to a process, as it stands in a recording.

use serde::{Deserialize, Serialize};

use crate::capture::event::{Pid, ProcessChange, ProcessInfo, Surroundings};

/// As [`ProcessChange`]. A record has no names of fields, so what is told of a process since version 4
/// has a variant of its own: older recordings have the other one.
#[derive(Serialize, Deserialize)]
pub(in crate::capture) enum RecordedChange {
    Forked { parent: Pid },
    Executed,
    Described(Box<ProcessInfo>),
    Exited,
    DescribedWithin(Box<ProcessInfo>, Box<Surroundings>),
}

impl From<ProcessChange> for RecordedChange {
    fn from(change: ProcessChange) -> Self {
        match change {
            ProcessChange::Forked { parent } => Self::Forked { parent },
            ProcessChange::Executed => Self::Executed,
            ProcessChange::Described(mut info) => {
                let surroundings = std::mem::take(&mut info.surroundings);
                if surroundings == Surroundings::default() {
                    Self::Described(info)
                } else {
                    Self::DescribedWithin(info, Box::new(surroundings))
                }
            }
            ProcessChange::Exited => Self::Exited,
        }
    }
}

impl From<RecordedChange> for ProcessChange {
    fn from(change: RecordedChange) -> Self {
        match change {
            RecordedChange::Forked { parent } => Self::Forked { parent },
            RecordedChange::Executed => Self::Executed,
            RecordedChange::Described(info) => Self::Described(info),
            RecordedChange::Exited => Self::Exited,
            RecordedChange::DescribedWithin(mut info, surroundings) => {
                info.surroundings = *surroundings;
                Self::Described(info)
            }
        }
    }
}
