//! What happened to a process, as it stands in a recording.

use serde::{Deserialize, Serialize};

use crate::capture::event::{Instrumentation, Pid, ProcessChange, ProcessInfo, Surroundings};

/// As [`ProcessChange`]. A record has no names of fields, so what is told of a process since versions 4
/// and 5 has variants of its own: older recordings have the others.
#[derive(Serialize, Deserialize)]
pub(in crate::capture) enum RecordedChange {
    Forked { parent: Pid },
    Executed,
    Described(Box<ProcessInfo>),
    Exited,
    DescribedWithin(Box<ProcessInfo>, Box<Surroundings>),
    DescribedInstrumented(Box<ProcessInfo>, Box<Surroundings>, Instrumentation),
}

impl From<ProcessChange> for RecordedChange {
    fn from(change: ProcessChange) -> Self {
        match change {
            ProcessChange::Forked { parent } => Self::Forked { parent },
            ProcessChange::Executed => Self::Executed,
            ProcessChange::Described(mut info) => {
                let surroundings = std::mem::take(&mut info.surroundings);
                match info.instrumentation.take() {
                    Some(instrumentation) => {
                        Self::DescribedInstrumented(info, Box::new(surroundings), instrumentation)
                    }
                    None if surroundings == Surroundings::default() => Self::Described(info),
                    None => Self::DescribedWithin(info, Box::new(surroundings)),
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
            RecordedChange::DescribedInstrumented(mut info, surroundings, instrumentation) => {
                info.surroundings = *surroundings;
                info.instrumentation = Some(instrumentation);
                Self::Described(info)
            }
        }
    }
}
