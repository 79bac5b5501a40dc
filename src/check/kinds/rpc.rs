use crate::check::Kind;
pub const KIND: Kind =
    Kind { name: "rpc", summary: "", options: &[], facts: &[], example: "", parse: |_| None };
