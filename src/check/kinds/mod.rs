//! The registry of kinds: one line each.

mod postgres;
mod redis;
mod rpc;
mod system;
#[cfg(test)]
mod testing;

use super::Kind;

/// Every kind, in the order in which they are shown.
pub const ALL: &[&Kind] = &[&postgres::KIND, &redis::KIND, &rpc::KIND, &system::KIND];

/// The kind called `name`.
pub fn find(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}
