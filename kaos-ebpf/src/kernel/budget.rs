//! How much of a message was moved: the budget for its head is the message's, not the operation's.

use kaos_ebpf::record::FLAG_SENT;
use kaos_ebpf::settings::defaults::MOST_BUDGET_BYTES;

use super::connections::Connection;

/// Notes an operation of `total` bytes and tells how much of its message moved before it.
///
/// The kernel does not know messages. What moves one way until something moves the other way is
/// taken for one: true for HTTP without pipelining, and with it only the budget is shared.
#[inline(always)]
pub fn spend(connection: &mut Connection, sent: bool, total: u32) -> u32 {
    let turn = if sent { FLAG_SENT } else { 0 };
    if connection.turn != turn {
        connection.turn = turn;
        connection.spent = 0;
    }
    let before = connection.spent;
    // Nothing depends on the exact sum beyond the largest budget.
    connection.spent = before.saturating_add(total).min(MOST_BUDGET_BYTES);
    before
}
