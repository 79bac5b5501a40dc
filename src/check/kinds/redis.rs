use crate::check::Kind;
pub const KIND: Kind =
    Kind { name: "redis", summary: "", options: &[], facts: &[], example: "", parse: |_| None };
