//! The calls that a model's server makes upstream for one request.

use crate::exchanges::exchange::ExchangeId;

/// The latest call that a model's server made upstream.
#[derive(Debug, Default)]
pub struct Upstream {
    /// Number of its exchange.
    pub latest: Option<ExchangeId>,
    /// The model that it asks for.
    model: Option<String>,
    /// It is over, and has failed.
    pub has_failed: bool,
    /// How many calls of the same model before it failed.
    resends: u32,
}

impl Upstream {
    /// A call is made. Returns how many calls of the same model before it failed.
    pub fn call(&mut self, id: ExchangeId, model: Option<String>) -> u32 {
        self.resends = if self.has_failed && self.model == model {
            self.resends + 1
        } else {
            0
        };
        self.latest = Some(id);
        self.model = model;
        self.has_failed = false;
        self.resends
    }
}
