//! The rules of this stage, as scripts: see [`super::testing::script`] for their language.

mod after;
mod agents;
mod any_input;
mod batches;
mod beside;
mod parents;
mod sessions;
mod told;
mod waiting;
