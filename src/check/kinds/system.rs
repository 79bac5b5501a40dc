use crate::check::Kind;
pub const KIND: Kind =
    Kind { name: "system", summary: "", options: &[], facts: &[], example: "", parse: |_| None };
